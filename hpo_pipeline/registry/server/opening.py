"""From the URI of a registry on a server to its driver, which is imported only then.

mlflow://HOST:PORT     mlflows://HOST                  or mlflow+https://
kubeflow://HOST:PORT?store=URI&public=URI              or kubeflows://, kubeflow+https://
"""

from __future__ import annotations

import os

from hpo_pipeline.errors import RegistryError
from hpo_pipeline.registry.server.address import parse
from hpo_pipeline.registry.server.driver import ServedRegistry

MLFLOW_CREDENTIALS = (
    "they come from MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
)
KUBEFLOW_CREDENTIALS = "a token comes from HPO_REGISTRY_TOKEN, or is the pod's own"

# Only where the user has not decided: the client reports its use to its makers, prints to stdout,
# draws a progress bar for every file, and tries for four minutes to reach a server that is down.
MLFLOW_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",
}


def open_mlflow(uri: str) -> ServedRegistry:
    """Return the registry on an MLflow server.

    Raises:
        RegistryError: the URI is none, or the client is not installed.
    """
    address = parse(uri, credentials=MLFLOW_CREDENTIALS)
    for name, value in MLFLOW_SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        from hpo_pipeline.registry.server.mlflow import MlflowPlace
    except ImportError as error:
        raise RegistryError(
            f"{uri}: needs the client of MLflow ({error}): pip install 'hpo-pipeline[mlflow]'"
        ) from error
    return ServedRegistry(MlflowPlace(address.url, os.environ))


def open_kubeflow(uri: str) -> ServedRegistry:
    """Return the registry on a Kubeflow Model Registry.

    Raises:
        RegistryError: the URI is none.
    """
    from hpo_pipeline.registry.server.kubeflow import KubeflowPlace, token
    from hpo_pipeline.registry.server.rest import Rest
    from hpo_pipeline.registry.server.store import Store

    address = parse(uri, options=("store", "public"), credentials=KUBEFLOW_CREDENTIALS)
    store = address.options.get("store")
    if store is None and "public" in address.options:
        raise RegistryError("registry: public is another name of the store, got no store")
    rest = Rest(address.url, token=token(address.url, os.environ))
    return ServedRegistry(
        KubeflowPlace(rest, Store(store, address.options.get("public")) if store else None)
    )
