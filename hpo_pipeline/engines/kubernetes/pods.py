"""The jobs of a run as Kubernetes runs them: pod, command, and where things lie in it.

The job of a trial, which Katib makes from a template, and jobs around the search, which the
engine makes itself: all are pods of the same image with the same storage. The part of a manifest
that is plain Kubernetes; what is Katib's is in manifest.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hpo_pipeline.engines.kubernetes.api import Object
from hpo_pipeline.engines.kubernetes.names import QUEUE_LABEL, TRIAL_CONTAINER
from hpo_pipeline.experiment.schema import Experiment

EXPERIMENT_FILE = "experiment.yaml"
EXPERIMENT_MOUNT = Path("/etc/hpo")
STORAGE_MOUNT = Path("/storage")
USER = 1000
GRACE_SECONDS = 120
"""What a trial gets after SIGTERM to evaluate and write."""
WORK_LABEL = "hpo-pipeline/work-of"
"""On jobs around the search: the name of the experiment."""
KEEP_SECONDS = 3600
"""How long a job that nothing owns is kept after its end."""
RETRIES: dict[str, Any] = {
    "backoffLimit": 2,
    "podFailurePolicy": {
        "rules": [
            # An eviction, a preemption or a lost node is not the fault of the job.
            {
                "action": "Ignore",
                "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
            },
            # What the container decided itself would only happen again.
            {
                "action": "FailJob",
                "onExitCodes": {
                    "containerName": TRIAL_CONTAINER,
                    "operator": "NotIn",
                    "values": [137, 143],
                },
            },
        ]
    },
}
"""When the pod of a job is made anew. A pod that was killed (SIGKILL, SIGTERM) without any word
from Kubernetes gets three attempts, as on this machine: it may have run out of memory, or somebody
may have deleted it by force."""
_APP = {"app.kubernetes.io/name": "hpo-pipeline"}
_WORK = {**_APP, "app.kubernetes.io/component": "work"}


def run_folder(experiment: Experiment) -> Path:
    """Return where the folder of the run is in the storage, as a pod sees it."""
    return STORAGE_MOUNT / "runs" / experiment.name


def trials_folder(experiment: Experiment) -> Path:
    """Return where the folders of the trials lie in the storage, as a pod sees it."""
    return run_folder(experiment) / "trials"


def work_job(
    experiment: Experiment,
    config_name: str,
    name: str,
    argv: Sequence[str],
    *,
    owner: Object | None = None,
) -> Object:
    """Return a job around the search, whose answer is its termination message.

    Args:
        argv: the kind of job and its arguments, after `python -m hpo_pipeline.jobs`.
        owner: the experiment on the cluster, with which the job goes; without one it goes by
            itself some time after its end.
    """
    container = _container(experiment, ["python", "-P", "-m", "hpo_pipeline.jobs"], list(argv))
    labels = {**_WORK, WORK_LABEL: experiment.name}
    spec: dict[str, Any] = {
        **RETRIES,
        "template": {
            "metadata": {"labels": labels, "annotations": {"sidecar.istio.io/inject": "false"}},
            "spec": _on_serving_nodes(experiment, argv, _pod(experiment, config_name, container)),
        },
    }
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": experiment.cluster.namespace,
        "labels": dict(labels),
    }
    if experiment.cluster.queue:
        metadata["labels"][QUEUE_LABEL] = experiment.cluster.queue
    if owner is None:
        spec["ttlSecondsAfterFinished"] = KEEP_SECONDS
    else:
        metadata["ownerReferences"] = [
            {
                "apiVersion": owner["apiVersion"],
                "kind": owner["kind"],
                "name": owner["metadata"]["name"],
                "uid": owner["metadata"]["uid"],
            }
        ]
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


PROMOTE = "promote"
"""The kind of job that measures models."""


def _on_serving_nodes(experiment: Experiment, argv: Sequence[str], pod: Object) -> Object:
    """Return the pod of a job where its models will be served, if it measures any."""
    selector = experiment.serve.node_selector
    if not selector or [*argv][:1] != [PROMOTE]:
        return pod
    return {**pod, "nodeSelector": {**pod.get("nodeSelector", {}), **selector}}


def _pod(experiment: Experiment, config_name: str, container: Object) -> Object:
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
        "containers": [container],
        "volumes": [
            {"name": "experiment", "configMap": {"name": config_name}},
            storage,
            {"name": "tmp", "emptyDir": {}},
            {
                "name": "shared-memory",
                "emptyDir": {"medium": "Memory", "sizeLimit": cluster.shared_memory},
            },
            *cluster.volumes,
        ],
    }
    if cluster.node_selector:
        pod["nodeSelector"] = cluster.node_selector
    if cluster.affinity:
        pod["affinity"] = cluster.affinity
    if cluster.tolerations:
        pod["tolerations"] = [t.model_dump(exclude_none=True) for t in cluster.tolerations]
    if cluster.priority_class:
        pod["priorityClassName"] = cluster.priority_class
    if cluster.pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in cluster.pull_secrets]
    return pod


def _container(experiment: Experiment, command: list[str], arguments: list[str]) -> Object:
    cluster = experiment.cluster
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
        *(
            {"name": name, "value" if isinstance(value, str) else "valueFrom": value}
            for name, value in cluster.env.items()
        ),
    ]
    container: dict[str, Any] = {
        "name": TRIAL_CONTAINER,
        "image": cluster.image,
        "command": command,
        "args": arguments,
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
            *cluster.volume_mounts,
        ],
    }
    if secrets:
        container["envFrom"] = [{"secretRef": {"name": name}} for name in secrets]
    return container
