"""An experiment as Kubernetes objects: pure functions from our model to plain dicts.

Nothing is sent from here and no cluster is asked. Everything that is special about Katib's custom
resource is here, in status.py and in backends/katib.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from hpo_pipeline.errors import ExperimentError
from hpo_pipeline.experiment import Experiment
from hpo_pipeline.katib import names
from hpo_pipeline.katib.api import Object
from hpo_pipeline.katib.settings import search_settings, stopping_settings
from hpo_pipeline.results import Trial
from hpo_pipeline.space import ChoiceParameter, FloatParameter, IntParameter, render
from hpo_pipeline.strategies import StockSearch, StockStopping
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


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, which people can read."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def manifests(experiment: Experiment, earlier: Sequence[Trial] = ()) -> list[Object]:
    """Return the ConfigMap and the Experiment, in the order in which they are applied.

    Args:
        earlier: trials of other searches to learn from; they travel in the settings.

    Raises:
        ExperimentError: the experiment cannot run on a cluster as it is.
    """
    faults = cluster_faults(experiment)
    if faults:
        raise ExperimentError(experiment.name, faults)
    config = _config_map(experiment)
    return [config, _experiment(experiment, config["metadata"]["name"], earlier)]


def as_yaml(objects: Sequence[Object]) -> str:
    """Return objects as the YAML that `kubectl apply` takes."""
    return yaml.dump_all(objects, Dumper=_Dumper, sort_keys=False, width=100)


def cluster_faults(experiment: Experiment) -> list[str]:
    """Return what keeps an experiment from running on a cluster."""
    faults = []
    for field in ("model", "data"):
        path = Path(getattr(experiment.task, field))
        if path.is_absolute() and not path.is_relative_to(STORAGE_MOUNT):
            faults.append(
                f"task.{field}: {path} is a path of this machine; on the cluster it must be an "
                f"asset, a hub id, or a path below {STORAGE_MOUNT}, where the storage is mounted"
            )
    is_stock = [experiment.search.algorithm == "katib", experiment.stopping.algorithm == "katib"]
    if is_stock == [True, False] and experiment.stopping.algorithm != "none":
        faults.append("stopping.algorithm: with Katib's own search it must be katib:NAME or none")
    if is_stock == [False, True]:
        faults.append("stopping.algorithm: katib:NAME needs search.algorithm: katib:NAME too")
    if is_stock[0] and len(experiment.objective) > 1:
        faults.append("objective: Katib's own algorithms serve one objective")
    if is_stock[0] and experiment.space.has_conditions:
        faults.append("space: Katib's own algorithms know no conditions (when)")
    return faults


def is_stock(experiment: Experiment) -> bool:
    """Tell whether an experiment asks for nothing of ours on the cluster but the trial image."""
    return isinstance(experiment.search, StockSearch)


def identity(experiment: Experiment) -> str:
    """Return a hash that tells whether an experiment on the cluster is this one."""
    cluster = experiment.cluster.model_dump_json()
    return hashlib.sha256(f"{experiment.identity()}{cluster}".encode()).hexdigest()[:32]


def algorithm_name(experiment: Experiment) -> str:
    """Return the name of the search algorithm in Katib."""
    search = experiment.search
    return search.name if isinstance(search, StockSearch) else names.PREFIX + search.algorithm


def stopping_name(experiment: Experiment) -> str:
    """Return the name of the stopping rule in Katib."""
    rule = experiment.stopping
    return rule.name if isinstance(rule, StockStopping) else names.PREFIX + rule.algorithm


def trials_folder(experiment: Experiment) -> Path:
    """Return where the folders of the trials lie in the storage, as a pod sees it."""
    return STORAGE_MOUNT / "runs" / experiment.name / "trials"


def max_trials(experiment: Experiment) -> int:
    """Return how many trials there will be: a grid may have fewer points than the budget."""
    size = experiment.space.size() if experiment.search.algorithm == "grid" else None
    return min(experiment.budget.trials, size or experiment.budget.trials)


def _config_map(experiment: Experiment) -> Object:
    content = experiment.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    text = yaml.safe_dump(content, sort_keys=False, width=100)
    digest = hashlib.sha256(text.encode()).hexdigest()[:10]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"{experiment.name}-{digest}",
            "namespace": experiment.cluster.namespace,
            "labels": {"app.kubernetes.io/name": "hpo-pipeline"},
        },
        "immutable": True,
        "data": {EXPERIMENT_FILE: text},
    }


def _experiment(experiment: Experiment, config_name: str, earlier: Sequence[Trial]) -> Object:
    budget, count = experiment.budget, max_trials(experiment)
    notes = {names.IDENTITY_ANNOTATION: identity(experiment)}
    if budget.minutes is not None:
        notes[names.MINUTES_ANNOTATION] = f"{budget.minutes:g}"
    settings = search_settings(experiment, earlier)
    algorithm = {"algorithmName": algorithm_name(experiment), "algorithmSettings": _pairs(settings)}
    spec: dict[str, Any] = {
        "objective": _objective(experiment),
        "algorithm": algorithm,
        "parallelTrialCount": min(budget.parallel, count),
        "maxTrialCount": count,
        # Katib fails at as many; ours is what is allowed.
        "maxFailedTrialCount": min(budget.max_failed + 1, count),
        "resumePolicy": "Never",
    }
    # Without a rule too: the service beside the search also ends it in time.
    if not is_stock(experiment) or experiment.stopping.algorithm == "katib":
        rule = {"algorithmName": stopping_name(experiment)}
        spec["earlyStopping"] = {
            **rule,
            "algorithmSettings": _pairs(stopping_settings(experiment)),
        }
    collector = "StdOut" if is_stock(experiment) else "Push"
    spec["metricsCollectorSpec"] = {"collector": {"kind": collector}}
    spec["parameters"] = _parameters(experiment)
    spec["trialTemplate"] = _trial_template(experiment, config_name)
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {
            "name": experiment.name,
            "namespace": experiment.cluster.namespace,
            "labels": {"app.kubernetes.io/name": "hpo-pipeline"},
            "annotations": notes,
        },
        "spec": spec,
    }


def _objective(experiment: Experiment) -> Object:
    first, *others = experiment.objective
    shown = [n for n in experiment.task.metric_names if not n.endswith(("_macro", "_weighted"))]
    listed = dict.fromkeys([*(o.name for o in others), *sorted(experiment.reads), *shown])
    additional = [name for name in listed if name != first.name]
    found: dict[str, Any] = {
        "type": first.goal,
        "objectiveMetricName": first.name,
        "additionalMetricNames": additional,
    }
    strategies = dict.fromkeys([first.name, *additional], "latest")
    if is_stock(experiment):
        # A trial that Katib stops is cut off before it could report its best again.
        strategies[first.name] = "max" if first.goal == "maximize" else "min"
        if experiment.budget.target is not None:
            found["goal"] = experiment.budget.target
    found["metricStrategies"] = [{"name": n, "value": v} for n, v in strategies.items()]
    return found


def _parameters(experiment: Experiment) -> list[Object]:
    found = [_parameter(name, experiment.space[name]) for name in experiment.space]
    if experiment.search.algorithm == "pbt":
        # Katib does not compare proposals with the list.
        found.append(_listed(names.PARENT, [names.NO_PARENT]))
    return found


def _parameter(name: str, parameter: FloatParameter | IntParameter | ChoiceParameter) -> Object:
    if isinstance(parameter, ChoiceParameter):
        return _listed(name, [render(value) for value in parameter.values])
    space = {"min": render(parameter.low), "max": render(parameter.high)}
    if parameter.step is not None and not (parameter.type == "int" and parameter.step == 1):
        space["step"] = render(parameter.step)
    space["distribution"] = "logUniform" if parameter.log else "uniform"
    kind = "int" if parameter.type == "int" else "double"
    return {"name": name, "parameterType": kind, "feasibleSpace": space}


def _listed(name: str, values: list[str]) -> Object:
    return {"name": name, "parameterType": "categorical", "feasibleSpace": {"list": values}}


def _trial_template(experiment: Experiment, config_name: str) -> Object:
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


def _pairs(settings: dict[str, str]) -> list[Object]:
    return [{"name": name, "value": value} for name, value in settings.items()]
