"""Experiments that are on a cluster already: read back as ours, or removed."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from hpo_pipeline.engines.katib.names import token_secret
from hpo_pipeline.engines.katib.trial_template import EXPERIMENT_POD_LABEL
from hpo_pipeline.engines.kubernetes.api import (
    CONFIG_MAPS,
    EXPERIMENTS,
    SECRETS,
    Api,
    Kind,
    Object,
)
from hpo_pipeline.engines.kubernetes.pods import EXPERIMENT_FILE
from hpo_pipeline.errors import BackendError, ClusterError, ExperimentError
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.experiment.schema import Experiment

NOT_FOUND = 404


def delete(api: Api, namespace: str, name: str) -> bool:
    """Delete an experiment with its trials, its files and its token; return whether there was one.

    Files are also those of jobs that ran before the experiment was created.
    """
    try:
        config = _config_name(api.get(EXPERIMENTS, namespace, name))
        api.delete(EXPERIMENTS, namespace, name)
        was_there = True
    except ClusterError as error:
        if error.status != NOT_FOUND:
            raise
        config, was_there = None, False
    found = [config] if config is not None else []
    # Without the right to do this they stay: the same experiment finds them again.
    with contextlib.suppress(ClusterError):
        labels = f"{EXPERIMENT_POD_LABEL}={name}"
        listed = api.list(CONFIG_MAPS, namespace, labels=labels)["items"]
        found += [item["metadata"]["name"] for item in listed]
    removed = [_try_delete(api, CONFIG_MAPS, namespace, config) for config in dict.fromkeys(found)]
    removed.append(_try_delete(api, SECRETS, namespace, token_secret(name)))
    return was_there or any(removed)


def _try_delete(api: Api, kind: Kind, namespace: str, name: str) -> bool:
    with contextlib.suppress(ClusterError):
        api.delete(kind, namespace, name)
        return True
    return False


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
    try:
        text = str(api.get(CONFIG_MAPS, namespace, config)["data"][EXPERIMENT_FILE])
        return _read(text)
    except ClusterError as error:
        if error.status == NOT_FOUND:
            what = f"{name}: its file, ConfigMap {config}, was deleted"
            raise BackendError(f"{what}; remove the experiment: hpo delete {name}") from error
        raise
    except KeyError as error:
        raise BackendError(f"ConfigMap {config}: has no {EXPERIMENT_FILE}") from error
    except ExperimentError as error:
        raise BackendError(
            f"{name}: another version of hpo wrote its file, which this one cannot read; use that "
            f"version, or remove the experiment (hpo delete {name}):\n{error}"
        ) from error


def _read(text: str) -> Experiment:
    """Read the text of an experiment file as every such file is read."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / EXPERIMENT_FILE
        path.write_text(text, "utf-8")
        return load(path)


def _config_name(found: Object) -> str | None:
    """Return the name of the ConfigMap with the file; None for an experiment of others."""
    template = found["spec"]["trialTemplate"].get("trialSpec") or {}
    try:
        volumes = template["spec"]["template"]["spec"]["volumes"]
        return next(str(v["configMap"]["name"]) for v in volumes if v["name"] == "experiment")
    except (KeyError, StopIteration):
        return None
