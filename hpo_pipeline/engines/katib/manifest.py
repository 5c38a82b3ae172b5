"""An experiment as Kubernetes objects: pure functions from our model to plain dicts.

Nothing is sent from here and no cluster is asked. Everything that is special about Katib's custom
resource is here, in trial_template.py and in status.py.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from typing import Any

import yaml

from hpo_pipeline.engines.katib import names
from hpo_pipeline.engines.katib.faults import faults as cluster_faults
from hpo_pipeline.engines.katib.settings import search_settings, stopping_settings
from hpo_pipeline.engines.katib.trial_template import (
    EXPERIMENT_POD_LABEL,
    algorithm_name,
    is_stock,
    trial_template,
)
from hpo_pipeline.engines.kubernetes.api import Object
from hpo_pipeline.engines.kubernetes.pods import EXPERIMENT_FILE
from hpo_pipeline.errors import ExperimentError
from hpo_pipeline.experiment.metrics import OPTIONAL
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.space import ChoiceParameter, FloatParameter, IntParameter, render
from hpo_pipeline.experiment.stopping import StockStopping
from hpo_pipeline.results.trial import Trial
from hpo_pipeline.trial.names import NO_PARENT, PARENT

_BOOLEANS = ("y", "n", "yes", "no", "on", "off", "true", "false")


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, which people can read, and quotes odd texts.

    PyYAML takes 1e-05 and y for text and leaves them bare; kubectl reads a number and a boolean.
    """


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    is_odd = text[:1] in set("0123456789.+-") or text.lower() in _BOOLEANS
    style = "|" if "\n" in text else "'" if is_odd else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def manifests(
    experiment: Experiment, earlier: Sequence[Trial] = (), *, token: str | None = None
) -> list[Object]:
    """Return the ConfigMap and the Experiment, in the order in which they are applied.

    Args:
        earlier: trials of other searches to learn from; they travel in the settings.
        token: with which the trials speak to the stopping service. A Secret with it comes third.
            Without a token, the service takes the word of any pod that names the trial.

    Raises:
        ExperimentError: the experiment cannot run on a cluster as it is.
    """
    faults = cluster_faults(experiment)
    if faults:
        raise ExperimentError(experiment.name, faults)
    config = config_map(experiment)
    has_token = token is not None and not is_stock(experiment)
    custom = _experiment(experiment, config["metadata"]["name"], earlier, has_token=has_token)
    if token is None or not has_token:
        return [config, custom]
    custom["metadata"]["annotations"][names.TOKEN_ANNOTATION] = verifier(token)
    return [config, custom, token_secret(experiment, token)]


def new_token() -> str:
    """Return a token for the trials of one experiment."""
    return secrets.token_urlsafe(32)


def verifier(token: str) -> str:
    """Return the hash of a token, which may be public."""
    return hashlib.sha256(token.encode()).hexdigest()


def token_secret(experiment: Experiment, token: str) -> Object:
    """Return the Secret from which the pods of the trials take their token."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": names.token_secret(experiment.name),
            "namespace": experiment.cluster.namespace,
            "labels": _labels(experiment),
        },
        "type": "Opaque",
        "stringData": {names.TOKEN_ENTRY: token},
    }


def _labels(experiment: Experiment) -> dict[str, str]:
    """Return the labels of what belongs to an experiment, by which `hpo delete` finds it."""
    return {"app.kubernetes.io/name": "hpo-pipeline", EXPERIMENT_POD_LABEL: experiment.name}


def as_yaml(objects: Sequence[Object]) -> str:
    """Return objects as the YAML that `kubectl apply` takes."""
    return yaml.dump_all(objects, Dumper=_Dumper, sort_keys=False, width=100)


def identity(experiment: Experiment) -> str:
    """Return a hash that tells whether an experiment on the cluster is this one."""
    cluster = experiment.cluster.model_dump_json(exclude_defaults=True)
    return hashlib.sha256(f"{experiment.identity()}{cluster}".encode()).hexdigest()[:32]


def stopping_name(experiment: Experiment) -> str:
    """Return the name of the stopping rule in Katib."""
    rule = experiment.chosen_stopping
    return rule.name if isinstance(rule, StockStopping) else names.PREFIX + rule.algorithm


def max_trials(experiment: Experiment) -> int:
    """Return how many trials there will be: a grid may have fewer points than the budget."""
    size = experiment.problem.size() if experiment.chosen_search.is_exhaustible else None
    return min(experiment.budget.trials, size or experiment.budget.trials)


def config_map(experiment: Experiment) -> Object:
    """Return the ConfigMap that holds the experiment file, with a hash of it in its name."""
    content = experiment.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    text = yaml.safe_dump(content, sort_keys=False, width=100)
    digest = hashlib.sha256(text.encode()).hexdigest()[:10]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"{experiment.name}-{digest}",
            "namespace": experiment.cluster.namespace,
            "labels": _labels(experiment),
        },
        "immutable": True,
        "data": {EXPERIMENT_FILE: text},
    }


def _experiment(
    experiment: Experiment, config_name: str, earlier: Sequence[Trial], *, has_token: bool
) -> Object:
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
    spec["trialTemplate"] = trial_template(experiment, config_name, has_token=has_token)
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
    shown = [
        n
        for n in experiment.task.metric_names
        if not n.endswith(("_macro", "_weighted")) and n not in OPTIONAL
    ]
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
    if experiment.search.population_size is not None:
        # Katib does not compare proposals with the list.
        found.append(_listed(PARENT, [NO_PARENT]))
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


def _pairs(settings: dict[str, str]) -> list[Object]:
    return [{"name": name, "value": value} for name, value in settings.items()]
