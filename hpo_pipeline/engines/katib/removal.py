"""Removing what a run left in the storage, by a job that sees nothing but the runs."""

from __future__ import annotations

from collections.abc import Callable

from hpo_pipeline.engines.interruption import Interruption
from hpo_pipeline.engines.katib import manifest, status
from hpo_pipeline.engines.kubernetes.api import CONFIG_MAPS, EXPERIMENTS, JOBS, Api, Object
from hpo_pipeline.engines.kubernetes.jobs import Jobs
from hpo_pipeline.engines.kubernetes.pods import STORAGE_MOUNT, run_folder, work_job
from hpo_pipeline.errors import BackendError, ClusterError
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.job import TERMINATION_MESSAGE

CONFLICT = 409


def remove_from_storage(
    experiment: Experiment, api: Api, interruption: Interruption, *, say: Callable[[str], None]
) -> bool:
    """Delete the folder of an experiment's run; return whether there was one.

    Datasets and registered models are kept.

    Raises:
        BackendError: the experiment still runs, or the job failed.
        DataError: the folder cannot be deleted.
    """
    namespace, name = experiment.cluster.namespace, experiment.name
    if status.ended(api.get(EXPERIMENTS, namespace, name)) is None:
        stop = f"hpo stop {name} --namespace {namespace}"
        raise BackendError(f"{name}: is still running and writes to the storage; first: {stop}")
    config = manifest.config_map(experiment)
    try:
        api.create(CONFIG_MAPS, namespace, config)
    except ClusterError as error:
        if error.status != CONFLICT:
            raise
    body = removal_job(experiment, config["metadata"]["name"])
    jobs = Jobs(api, namespace, name, say=say)
    (output,) = jobs.run([body], parallel=1, interruption=interruption)
    api.delete(JOBS, namespace, body["metadata"]["name"])
    return bool(output.result().get("removed"))


def removal_job(experiment: Experiment, config_name: str) -> Object:
    """Return the job, which sees the folder of all runs, but neither datasets nor models."""
    run, uri = run_folder(experiment), experiment.cluster.storage.uri
    argv = ["remove", "--run", str(run), "--out", str(TERMINATION_MESSAGE)]
    argv += ["--storage", uri] if uri else []
    job = work_job(experiment, config_name, f"{experiment.name}-remove", argv)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    # It trains nothing: the smallest share of a node will do.
    small = {"cpu": "100m", "memory": "256Mi"}
    container["resources"] = {"requests": small, "limits": {"cpu": "1", "memory": "512Mi"}}
    if uri is None:
        for mount in container["volumeMounts"]:
            if mount["mountPath"] == str(STORAGE_MOUNT):
                mount |= {"mountPath": str(run.parent), "subPath": run.parent.name}
    return job
