"""Where models are kept with their evidence: one protocol, and a driver for each kind of place.

The stage after `confirm`: register the winner, and promote it if the gate says so. Callers know
this protocol and a URI, never a driver.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from hpo_pipeline.errors import RegistryError
from hpo_pipeline.registry.directory.driver import FOLDER
from hpo_pipeline.registry.interfaces import Access, Driver, Registry
from hpo_pipeline.registry.server.kubeflow import KUBEFLOW
from hpo_pipeline.registry.server.mlflow import MLFLOW

__all__ = ["DRIVERS", "Driver", "Registry", "check_uri", "open_registry", "preflight"]

DEFAULT = "models"

DRIVERS: dict[str, Driver] = {
    **dict.fromkeys(("", "file"), FOLDER),
    **dict.fromkeys(("mlflow", "mlflows", "mlflow+https"), MLFLOW),
    **dict.fromkeys(("kubeflow", "kubeflows", "kubeflow+https"), KUBEFLOW),
}
"""The drivers, by the scheme of the URI; a path without a scheme has the scheme ''."""


def open_registry(
    named: str | None = None,
    *,
    of_file: str | None = None,
    environ: Mapping[str, str] = os.environ,
    drivers: Mapping[str, Driver] = DRIVERS,
) -> Registry:
    """Return a registry: `named`, else `of_file`, else HPO_REGISTRY, else the folder `models`.

    Args:
        named: the URI that the user gave, for instance with `--registry`.
        of_file: the URI in an experiment file. Its host gets no credentials, unless the environment
            names that host (see server/credentials.py).

    Raises:
        RegistryError: no driver serves this kind of URI, the URI is wrong, a package must be
            installed, or there are credentials that must not be sent to this host.
    """
    uri, access = _chosen(named, of_file, environ)
    return _driver(uri, drivers).open(uri, access)


def check_uri(uri: str, *, drivers: Mapping[str, Driver] = DRIVERS) -> None:
    """Check the URI of a registry, without contacting it.

    Raises:
        RegistryError: no driver serves this kind of URI, or it is wrong.
    """
    _driver(uri, drivers).check(uri)


def preflight(
    named: str | None = None,
    *,
    of_file: str | None = None,
    elsewhere: bool = False,
    environ: Mapping[str, str] = os.environ,
    drivers: Mapping[str, Driver] = DRIVERS,
) -> None:
    """Find before a search what would stop the registration after it.

    The arguments are those of `open_registry`, and whether another process will register.

    Raises:
        RegistryError: what was found, and what to do.
    """
    uri, access = _chosen(named, of_file, environ)
    driver = _driver(uri, drivers)
    driver.check(uri)
    driver.preflight(uri, access, elsewhere=elsewhere)


def _chosen(
    named: str | None, of_file: str | None, environ: Mapping[str, str]
) -> tuple[str, Access]:
    if named or not of_file:
        return named or environ.get("HPO_REGISTRY") or DEFAULT, Access(environ, is_named=True)
    return of_file, Access(environ, is_named=False)


def _driver(uri: str, drivers: Mapping[str, Driver]) -> Driver:
    scheme = uri.partition("://")[0] if "://" in uri else ""
    if scheme not in drivers:
        forms = dict.fromkeys(driver.form for driver in drivers.values())
        # Not the whole URI: it may have a password.
        raise RegistryError(
            f"the URI of a registry must be {', '.join(forms)}; got the scheme {scheme!r}"
        )
    return drivers[scheme]
