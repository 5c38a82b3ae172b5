"""What callers know of a registry, and what a driver must offer: one file and one row of DRIVERS.

Drivers import this; the table and the functions for callers are in `__init__.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hpo_pipeline.registry.record import Candidate, Event, ModelRecord


class Registry(Protocol):
    """Models by name, their versions from 1, and the aliases `champion` and `candidate`.

    Every method raises RegistryError where a name or version is unknown or the registry cannot
    be used; `champion` and `names` accept an empty registry.
    """

    def register(self, candidate: Candidate, model_folder: Path) -> ModelRecord:
        """Keep a copy of a model as the next version; the same key gives the same version."""

    def promote(self, name: str, version: int, *, expected: int | None, reason: str) -> bool:
        """Make a version the champion, if the champion still is `expected` (None: there is none).

        False says that another version became champion meanwhile, and that nothing was changed.

        Raises:
            ModelFilesError: the files of the version are missing or changed, where the driver can
                tell without fetching them.
        """

    def rollback(self, name: str, *, reason: str = ...) -> ModelRecord:
        """Make the champion's predecessor champion again, and return it."""

    def champion(self, name: str) -> ModelRecord | None:
        """Return the champion, or None where there is none yet."""

    def get(self, name: str, version: int | str) -> ModelRecord:
        """Return a version by its number or alias."""

    def versions(self, name: str) -> list[ModelRecord]:
        """Return all versions of a model, oldest first."""

    def names(self) -> list[str]:
        """Return the names of all models, sorted."""

    def history(self, name: str) -> list[Event]:
        """Return what happened to a model, oldest first."""

    def fetch(self, record: ModelRecord, folder: Path) -> Path:
        """Return a folder with the files of a version: the registry's own if it is local.

        Else they are copied into `folder`.

        Raises:
            ModelFilesError: files are missing, or are not those that were registered.
        """


@dataclass(frozen=True)
class Access:
    """Where a driver finds credentials, and whether it may send them.

    `environ` are the environment variables. `is_named` says that the user named the registry
    (`--registry` or HPO_REGISTRY); else an experiment file did, which others may have written.
    """

    environ: Mapping[str, str]
    is_named: bool


class Driver(Protocol):
    """One kind of registry, as the scheme of its URI says.

    `form` is how users write the URI, for messages and documentation: `mlflow://HOST:PORT`.
    Importing the driver's file must be cheap: it imports the client of a server in `open`.
    """

    @property
    def form(self) -> str:
        """How users write the URI."""

    def open(self, uri: str, access: Access) -> Registry:
        """Return the registry at a URI, without contacting it.

        Raises:
            RegistryError: the URI is wrong, a package must be installed, or there are credentials
                that must not be sent to this host; the message says what to do.
        """

    def check(self, uri: str) -> None:
        """Check a URI alone: nothing is contacted or imported, the environment is not read.

        Raises:
            RegistryError: the URI is wrong.
        """

    def preflight(self, uri: str, access: Access, *, elsewhere: bool) -> None:
        """Find what would stop a registration, in seconds and without changing anything.

        Args:
            elsewhere: another process will register, such as a pod: its packages, credentials and
                disk are not those of this one. Look only whether a server can be reached.

        Raises:
            RegistryError: what was found, and what to do.
        """
