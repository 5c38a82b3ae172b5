"""Where models are kept with their evidence: one protocol, and a driver for each kind of place.

The stage after `confirm`: register the winner, and promote it if the gate says so. Callers know
this protocol, never a driver.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from hpo_pipeline.errors import RegistryError
from hpo_pipeline.registry.directory.driver import DirectoryRegistry
from hpo_pipeline.registry.record import Candidate, Event, ModelRecord, local_path
from hpo_pipeline.registry.server.opening import open_kubeflow, open_mlflow

DEFAULT = "models"


class Registry(Protocol):
    """Models by name, their versions from 1, and the aliases `champion` and `candidate`.

    Every method raises RegistryError where a name or version is unknown or the registry cannot
    be used; `champion` and `names` take an empty registry as it is.
    """

    def register(self, candidate: Candidate, model_folder: Path) -> ModelRecord:
        """Keep a copy of a model as the next version; the same key gives the same version."""

    def promote(self, name: str, version: int, *, expected: int | None, reason: str) -> bool:
        """Make a version the champion, if the champion still is `expected` (None: there is none).

        False says that another one became champion meanwhile, and that nothing was changed.
        """

    def rollback(self, name: str, *, reason: str = ...) -> ModelRecord:
        """Make the champion's predecessor champion again, and return it."""

    def champion(self, name: str) -> ModelRecord | None:
        """Return the champion, or None where there is none (yet)."""

    def get(self, name: str, version: int | str) -> ModelRecord:
        """Return a version by its number or alias."""

    def versions(self, name: str) -> list[ModelRecord]:
        """Return all versions of a model, oldest first."""

    def names(self) -> list[str]:
        """Return the names of all models, sorted."""

    def history(self, name: str) -> list[Event]:
        """Return what happened to a model, oldest first."""

    def fetch(self, record: ModelRecord, folder: Path) -> Path:
        """Return a folder with a version's files: its own if it is on this machine.

        Else they are copied into `folder`, and are whole.
        """


def open_registry(uri: str | None = None) -> Registry:
    """Return the registry at a URI; without one at HPO_REGISTRY, else in the folder `models`.

    Raises:
        RegistryError: no driver serves this kind of URI, or it is wrong.
    """
    found = uri or os.environ.get("HPO_REGISTRY") or DEFAULT
    scheme = found.partition("://")[0] if "://" in found else ""
    if scheme not in _DRIVERS:
        raise RegistryError(
            f"registry: must be a folder, file:///PATH, mlflow://HOST:PORT or "
            f"kubeflow://HOST:PORT?store=URI, got {found!r}"
        )
    return _DRIVERS[scheme](found)


def _path(uri: str) -> Registry:
    return DirectoryRegistry(Path(uri).expanduser())


def _file(uri: str) -> Registry:
    return DirectoryRegistry(local_path(uri))


_DRIVERS: dict[str, Callable[[str], Registry]] = {
    "": _path,
    "file": _file,
    **dict.fromkeys(("mlflow", "mlflows", "mlflow+https"), open_mlflow),
    **dict.fromkeys(("kubeflow", "kubeflows", "kubeflow+https"), open_kubeflow),
}
