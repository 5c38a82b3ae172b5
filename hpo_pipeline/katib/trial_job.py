"""The job of a trial as Kubernetes runs it: its pod, its command, and where things lie in it.

The part of a manifest that is plain Kubernetes; what is Katib's is in manifest.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpo_pipeline.experiment import Experiment
from hpo_pipeline.katib import names
from hpo_pipeline.katib.api import Object
from hpo_pipeline.strategies import StockSearch
from hpo_pipeline.trial.command import TrialCommand

EXPERIMENT_FILE = "experiment.yaml"
EXPERIMENT_MOUNT = Path("/etc/hpo")
STORAGE_MOUNT = Path("/storage")
USER = 1000
GRACE_SECONDS = 120
"""What a trial gets after SIGTERM to evaluate and write."""
DEADLINE_SLACK = 600
"""Seconds after the time budget at which Kubernetes ends a trial that heard nothing."""
EXPERIMENT_POD_LABEL = "hpo-pipeline/experiment"
_LABELS = {"app.kubernetes.io/name": "hpo-pipeline", "app.kubernetes.io/component": "trial"}


def is_stock(experiment: Experiment) -> bool:
    """Tell whether an experiment asks for nothing of ours on the cluster but the trial image."""
    return isinstance(experiment.search, StockSearch)


def algorithm_name(experiment: Experiment) -> str:
    """Return the name of the search algorithm in Katib."""
    search = experiment.search
    return search.name if isinstance(search, StockSearch) else names.PREFIX + search.algorithm


def trials_folder(experiment: Experiment) -> Path:
    """Return where the folders of the trials lie in the storage, as a pod sees it."""
    return STORAGE_MOUNT / "runs" / experiment.name / "trials"


def trial_template(experiment: Experiment, config_name: str) -> Object:
    """Return the template from which Katib makes each trial's job."""
    variables = _variables(experiment)
    parameters = [{"name": "trialName", "reference": "${trialSpec.Name}"}]
    parameters += [{"name": v, "reference": name} for name, v in variables.items()]
    return {
        "retain": True,
        "primaryContainerName": names.TRIAL_CONTAINER,
        "trialParameters": parameters,
        "trialSpec": _job(experiment, config_name, variables),
    }


def _variables(experiment: Experiment) -> dict[str, str]:
    """Return the name in the template of each parameter; dots mean something there."""
    listed = [*experiment.space]
    if experiment.search.algorithm == "pbt":
        listed.append(names.PARENT)
    return {name: name.replace(".", "_") for name in listed}


def _job(experiment: Experiment, config_name: str, variables: dict[str, str]) -> Object:
    cluster, minutes = experiment.cluster, experiment.budget.minutes
    spec: dict[str, Any] = {"backoffLimit": 0}
    if minutes is not None:
        spec["activeDeadlineSeconds"] = round(minutes * 60) + DEADLINE_SLACK
    labels = {**_LABELS, EXPERIMENT_POD_LABEL: experiment.name}
    spec["template"] = {
        "metadata": {"labels": labels, "annotations": {"sidecar.istio.io/inject": "false"}},
        "spec": _pod(experiment, config_name, variables),
    }
    job: Object = {"apiVersion": "batch/v1", "kind": "Job", "spec": spec}
    if cluster.queue:
        job["metadata"] = {"labels": {names.QUEUE_LABEL: cluster.queue}}
    return job


def _pod(experiment: Experiment, config_name: str, variables: dict[str, str]) -> Object:
    cluster = experiment.cluster
    storage: Object = {"name": "storage", "emptyDir": {}}
    if cluster.storage.claim:
        storage = {"name": "storage", "persistentVolumeClaim": {"claimName": cluster.storage.claim}}
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "serviceAccountName": cluster.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        # For the whole pod: Katib's own collector, where it is used, must be the same user.
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(experiment, variables)],
        "volumes": [
            {"name": "experiment", "configMap": {"name": config_name}},
            storage,
            {"name": "tmp", "emptyDir": {}},
            {
                "name": "shared-memory",
                "emptyDir": {"medium": "Memory", "sizeLimit": cluster.shared_memory},
            },
        ],
    }
    if cluster.node_selector:
        pod["nodeSelector"] = cluster.node_selector
    if cluster.tolerations:
        pod["tolerations"] = [t.model_dump(exclude_none=True) for t in cluster.tolerations]
    if cluster.priority_class:
        pod["priorityClassName"] = cluster.priority_class
    if cluster.pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in cluster.pull_secrets]
    return pod


def _container(experiment: Experiment, variables: dict[str, str]) -> Object:
    cluster = experiment.cluster
    command = _command(experiment, variables)
    limits = {"cpu": cluster.cpu, "memory": cluster.memory}
    if cluster.gpus:
        limits[cluster.gpu_resource] = str(cluster.gpus)
    secrets = [*cluster.env_from, *([cluster.storage.secret] if cluster.storage.secret else [])]
    environment: list[Object] = [
        {
            "name": "OMP_NUM_THREADS",
            "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1"}},
        },
        {"name": "TOKENIZERS_PARALLELISM", "value": "false"},
        {"name": "HF_HUB_DISABLE_PROGRESS_BARS", "value": "1"},
        {"name": "HF_HOME", "value": "/tmp/huggingface"},
        *({"name": name, "value": value} for name, value in cluster.env.items()),
    ]
    container: dict[str, Any] = {
        "name": names.TRIAL_CONTAINER,
        "image": cluster.image,
        "command": ["python", "-m", "hpo_pipeline.trial"],
        "args": command.argv(),
        "env": environment,
        "resources": {"requests": dict(limits), "limits": limits},
        # What went wrong is then in the pod's status, where the engine reads it.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "experiment", "mountPath": str(EXPERIMENT_MOUNT), "readOnly": True},
            {"name": "storage", "mountPath": str(STORAGE_MOUNT)},
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "shared-memory", "mountPath": "/dev/shm"},
        ],
    }
    if secrets:
        container["envFrom"] = [{"secretRef": {"name": name}} for name in secrets]
    return container


def _command(experiment: Experiment, variables: dict[str, str]) -> TrialCommand:
    cluster = experiment.cluster
    holders = {name: f"${{trialParameters.{v}}}" for name, v in variables.items()}
    parent = holders.pop(names.PARENT, None)
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
