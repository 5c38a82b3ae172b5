"""The trial template of a Katib Experiment: the job of one trial, with placeholders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpo_pipeline.engines.katib import names
from hpo_pipeline.engines.kubernetes.api import Object
from hpo_pipeline.engines.kubernetes.names import QUEUE_LABEL, TRIAL_CONTAINER
from hpo_pipeline.engines.kubernetes.pods import (
    _APP,
    EXPERIMENT_FILE,
    EXPERIMENT_MOUNT,
    RETRIES,
    STORAGE_MOUNT,
    _container,
    _pod,
    trials_folder,
)
from hpo_pipeline.experiment.algorithms.katib import StockSearch
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.trial.command import TrialCommand
from hpo_pipeline.trial.names import PARENT, TOKEN_VARIABLE

DEADLINE_SLACK = 600
"""Seconds after the time budget at which Kubernetes ends a trial that heard nothing."""


EXPERIMENT_POD_LABEL = "hpo-pipeline/experiment"
COLLECTOR_LABEL = "hpo-pipeline/collector"
"""On trials whose values Katib's own collector, in their pod, writes into Katib's database."""


_TRIAL = {**_APP, "app.kubernetes.io/component": "trial"}


def is_stock(experiment: Experiment) -> bool:
    """Return whether an experiment asks for nothing of ours on the cluster but the trial image."""
    return experiment.search.service is None


def algorithm_name(experiment: Experiment) -> str:
    """Return the name of the search algorithm in Katib."""
    search = experiment.chosen_search
    return search.name if isinstance(search, StockSearch) else names.PREFIX + search.algorithm


def trial_template(experiment: Experiment, config_name: str, *, has_token: bool = False) -> Object:
    """Return the template from which Katib makes each trial's job.

    Args:
        has_token: whether there is a Secret with a token for the stopping service.
    """
    variables = _variables(experiment)
    parameters = [{"name": "trialName", "reference": "${trialSpec.Name}"}]
    parameters += [{"name": v, "reference": name} for name, v in variables.items()]
    return {
        "retain": True,
        "primaryContainerName": TRIAL_CONTAINER,
        "trialParameters": parameters,
        "trialSpec": _job(experiment, config_name, variables, has_token=has_token),
    }


def _variables(experiment: Experiment) -> dict[str, str]:
    """Return the name in the template of each parameter; dots mean something there."""
    listed = [*experiment.space]
    if experiment.search.population_size is not None:
        listed.append(PARENT)
    found: dict[str, str] = {}
    for name in listed:
        variable = name.replace(".", "_")
        while variable in found.values() or (variable != name and variable in listed):
            variable += "_"  # model.x beside model_x
        found[name] = variable
    return found


def _job(
    experiment: Experiment, config_name: str, variables: dict[str, str], *, has_token: bool
) -> Object:
    cluster, minutes = experiment.cluster, experiment.budget.minutes
    spec: dict[str, Any] = dict(RETRIES)
    if minutes is not None:
        spec["activeDeadlineSeconds"] = round(minutes * 60) + DEADLINE_SLACK
    labels = {**_TRIAL, EXPERIMENT_POD_LABEL: experiment.name}
    if is_stock(experiment):
        labels[COLLECTOR_LABEL] = "katib"
    container = _container(
        experiment,
        ["python", "-P", "-m", "hpo_pipeline.trial"],
        _command(experiment, variables).argv(),
    )
    if has_token:
        container["env"].append(_token(experiment))
    spec["template"] = {
        "metadata": {"labels": labels, "annotations": {"sidecar.istio.io/inject": "false"}},
        "spec": _pod(experiment, config_name, container),
    }
    job: Object = {"apiVersion": "batch/v1", "kind": "Job", "spec": spec}
    if cluster.queue:
        job["metadata"] = {"labels": {QUEUE_LABEL: cluster.queue}}
    return job


def _token(experiment: Experiment) -> Object:
    """Return the environment variable with the token, from its Secret."""
    key = {"name": names.token_secret(experiment.name), "key": names.TOKEN_ENTRY}
    return {"name": TOKEN_VARIABLE, "valueFrom": {"secretKeyRef": key}}


def _command(experiment: Experiment, variables: dict[str, str]) -> TrialCommand:
    cluster = experiment.cluster
    holders = {name: f"${{trialParameters.{v}}}" for name, v in variables.items()}
    parent = holders.pop(PARENT, None)
    service = f"{experiment.name}-{algorithm_name(experiment)}.{cluster.namespace}"
    is_ours = not is_stock(experiment)
    return TrialCommand(
        experiment=EXPERIMENT_MOUNT / EXPERIMENT_FILE,
        dataset=None,
        datasets=STORAGE_MOUNT / "datasets",
        output=trials_folder(experiment),
        name="${trialParameters.trialName}",
        number=-1,
        assignments=holders,
        resume=Path(parent) if parent else None,
        stopping=f"{service}:{names.STOPPING_PORT}" if is_ours else None,
        database=names.database_address(cluster.katib_namespace) if is_ours else None,
        storage=cluster.storage.uri,
    )
