"""Which experiment of an MLflow server runs go to: that of Kubeflow Pipelines, or one by name.

For the registry and the tracker; like mlflow_store.py, it imports MLflow's client.
"""

from __future__ import annotations

from collections.abc import Mapping

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from hpo_pipeline.errors import RegistryError

EXISTS = "RESOURCE_ALREADY_EXISTS"
PARENT_TAG = "mlflow.parentRunId"


def experiment_of(client: MlflowClient, environ: Mapping[str, str], name: str, url: str) -> str:
    """Return the id of the experiment that the environment names, else of the one so named."""
    given = environ.get("MLFLOW_EXPERIMENT_ID")
    return given or experiment_named(client, environ.get("MLFLOW_EXPERIMENT_NAME") or name, url)


def experiment_named(client: MlflowClient, name: str, url: str) -> str:
    """Return the id of an experiment, which is created where there is none.

    Raises:
        RegistryError: somebody deleted it.
        MlflowException: the server refuses it.
    """
    try:
        created: str = client.create_experiment(name)
    except MlflowException as error:
        found = client.get_experiment_by_name(name)
        if error.error_code != EXISTS or found is None:
            raise
        if found.lifecycle_stage == "deleted":
            raise RegistryError(
                f"{url}: the experiment {name} must not be deleted; restore it"
            ) from error
        return str(found.experiment_id)
    return created
