"""The driver of MLflow servers: `mlflow://HOST:PORT`, over https `mlflows://HOST`.

It needs the client of MLflow, which only mlflow_store.py imports. Credentials are the client's own:
MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or the file
~/.mlflow/credentials. The client sends them to any server; so a server that must not have them
(credentials.py) is not opened while they are set. MLFLOW_TRACKING_URI names their host as well.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from hpo_pipeline.errors import RegistryError
from hpo_pipeline.registry.interfaces import Access
from hpo_pipeline.registry.server.address import Address, parse, reach
from hpo_pipeline.registry.server.credentials import NAMING, is_loopback, is_named, refusal
from hpo_pipeline.registry.server.driver import ServedRegistry

SECRETS = (
    *("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD"),
    *("MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_AWS_SIGV4"),
)
NAMED_BY = ("MLFLOW_TRACKING_URI", *NAMING)
CREDENTIALS = (
    "they come from MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
)

SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",
    "MLFLOW_ALLOW_HTTP_REDIRECTS": "false",
}
"""Set unless the user has: the client reports its use to its makers, prints to stdout, draws a
progress bar for every file, tries for four minutes to reach a server that is down, and follows a
redirect with its credentials."""


class MlflowDriver:
    """The `Driver` of MLflow servers."""

    form = "mlflow://HOST:PORT"

    def open(self, uri: str, access: Access) -> ServedRegistry:
        address = _address(uri)
        _check_credentials(address, access)
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        try:
            from hpo_pipeline.registry.server.mlflow_store import MlflowStore
        except ImportError as error:
            raise RegistryError(
                f"{uri}: needs the client of MLflow ({error}): pip install 'hpo-pipeline[mlflow]'"
            ) from error
        is_trusted = is_loopback(address.host) or is_named(address, access, naming=NAMED_BY)
        return ServedRegistry(MlflowStore(address.url, access.environ, is_trusted=is_trusted))

    def check(self, uri: str) -> None:
        _address(uri)

    def preflight(self, uri: str, access: Access, *, elsewhere: bool) -> None:
        registry = None if elsewhere else self.open(uri, access)
        reach(_address(uri))
        if registry is not None:
            registry.names()  # says whether it is an MLflow server, and accepts the credentials


MLFLOW = MlflowDriver()


def _address(uri: str) -> Address:
    return parse(uri, secure=("mlflows", "mlflow+https"), credentials=CREDENTIALS)


def _check_credentials(address: Address, access: Access) -> None:
    found = credentials(access.environ)
    reason = refusal(address, access, naming=NAMED_BY) if found else ""
    if reason:
        raise RegistryError(
            f"{address.url}: there are credentials in {found}; {reason}; or remove them for this "
            f"command"
        )


def credentials(environ: Mapping[str, str]) -> str:
    """Return where the client would find credentials; empty where it has none."""
    file = Path(environ.get("HOME") or Path.home()) / ".mlflow" / "credentials"
    given = [name for name in SECRETS if environ.get(name)]
    return ", ".join([*given, *([str(file)] if file.is_file() else [])])
