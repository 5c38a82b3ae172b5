"""Experiments that are on a cluster already: read back as ours, or removed."""

from __future__ import annotations

import contextlib

import yaml

from hpo_pipeline.engines.kubernetes.api import CONFIG_MAPS, EXPERIMENTS, Api, Object
from hpo_pipeline.engines.kubernetes.pods import EXPERIMENT_FILE
from hpo_pipeline.errors import BackendError, ClusterError
from hpo_pipeline.experiment.schema import Experiment

NOT_FOUND = 404


def delete(api: Api, namespace: str, name: str) -> bool:
    """Delete an experiment with its trials and its file; return whether there was one."""
    try:
        found = api.get(EXPERIMENTS, namespace, name)
        api.delete(EXPERIMENTS, namespace, name)
    except ClusterError as error:
        if error.status == NOT_FOUND:
            return False
        raise
    config = _config_name(found)
    if config is not None:
        # Who may not delete it leaves it there: the same experiment finds it again.
        with contextlib.suppress(ClusterError):
            api.delete(CONFIG_MAPS, namespace, config)
    return True


def load_experiment(api: Api, namespace: str, name: str) -> Experiment:
    """Return the experiment that was rendered for an experiment on the cluster.

    Raises:
        BackendError: there is none, or it is not one of ours.
    """
    try:
        found = api.get(EXPERIMENTS, namespace, name)
    except ClusterError as error:
        if error.status == NOT_FOUND:
            raise BackendError(f"{name}: no such experiment in namespace {namespace}") from error
        raise
    config = _config_name(found)
    if config is None:
        raise BackendError(f"{name}: is an experiment that `hpo render` did not write")
    text = api.get(CONFIG_MAPS, namespace, config)["data"][EXPERIMENT_FILE]
    return Experiment.model_validate(yaml.safe_load(text))


def _config_name(found: Object) -> str | None:
    """Return the name of the ConfigMap with the file; None for an experiment of others."""
    template = found["spec"]["trialTemplate"].get("trialSpec") or {}
    try:
        volumes = template["spec"]["template"]["spec"]["volumes"]
        return next(str(v["configMap"]["name"]) for v in volumes if v["name"] == "experiment")
    except (KeyError, StopIteration):
        return None
