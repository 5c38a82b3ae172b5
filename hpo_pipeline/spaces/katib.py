"""Katib's Experiment as an experiment file of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hpo_pipeline.spaces.document import SCRIPT, Draft, experiment_name
from hpo_pipeline.spaces.imported import Collector
from hpo_pipeline.spaces.strategies import carry_search, carry_stopping

_KNOWN = {
    **dict.fromkeys(
        (
            *("objective", "algorithm", "parameters", "trialTemplate", "earlyStopping"),
            *("maxTrialCount", "parallelTrialCount", "maxFailedTrialCount"),
        ),
        "",
    ),
    "nasConfig": "the search of architectures has no counterpart; write its choices as model.FIELD",
    "metricsCollectorSpec": "is not needed: trials report through hpo_pipeline.report",
    "resumePolicy": "is not needed: `hpo run` resumes by itself",
}


def is_katib(content: Mapping[str, Any]) -> bool:
    """Return whether a document is an Experiment of Katib."""
    return str(content.get("apiVersion", "")).startswith("kubeflow.org/") and (
        content.get("kind") == "Experiment"
    )


def from_katib(content: Mapping[str, Any]) -> Draft:
    """Carry an Experiment of Katib over."""
    spec = content.get("spec", {})
    metadata = content.get("metadata", {})
    draft = Draft("an Experiment of Katib")
    draft.sections["name"] = experiment_name(metadata.get("name") or metadata.get("generateName"))
    draft.lose_keys(spec, _KNOWN, "spec.")
    _carry_objective(draft, spec.get("objective", {}))
    collector = Collector("the parameters of the Experiment")
    for parameter in spec.get("parameters", []):
        _add(collector, parameter)
    draft.add_space(collector.imported())
    algorithm = spec.get("algorithm", {})
    carry_search(draft, algorithm.get("algorithmName", "random"))
    settings = [str(one.get("name")) for one in algorithm.get("algorithmSettings", []) or []]
    if settings:
        listed = ", ".join(settings)
        draft.lost.append(f"spec.algorithm: the settings {listed} are other ones here: see search")
    if stopping := spec.get("earlyStopping"):
        pairs = {s["name"]: s["value"] for s in stopping.get("algorithmSettings", []) or []}
        carry_stopping(
            draft,
            stopping.get("algorithmName"),
            min_trials=_whole(pairs.get("min_trials_required")),
            start_step=_whole(pairs.get("start_step")),
        )
    draft.sections["budget"] = _budget(draft, spec)
    draft.sections["task"] = {"kind": "custom", "script": _script(draft, spec)}
    return draft


def _carry_objective(draft: Draft, objective: Mapping[str, Any]) -> None:
    draft.add_objective(objective.get("objectiveMetricName"), objective.get("type", "minimize"))
    if more := objective.get("additionalMetricNames"):
        draft.notes.append(f"objective: {', '.join(map(str, more))} can be reported as well")
    if objective.get("metricStrategies"):
        draft.lost.append("spec.objective.metricStrategies: a trial's result is its best report")


def _add(collector: Collector, parameter: Mapping[str, Any]) -> None:
    name, space = str(parameter.get("name")), parameter.get("feasibleSpace", {})
    kind = parameter.get("parameterType")
    distribution = str(space.get("distribution", "uniform"))
    is_log = distribution == "logUniform"
    if distribution in ("normal", "logNormal"):
        collector.lose(
            name,
            f"has the distribution {distribution}",
            "write its range, with log: true for logNormal",
        )
    elif kind == "categorical":
        collector.choice(name, space.get("list", []))
    elif kind == "discrete":
        collector.choice(name, [_number(value) for value in space.get("list", [])])
    elif kind in ("int", "double"):
        low, high, step = (_number(space.get(key)) for key in ("min", "max", "step"))
        if low is None or high is None:
            collector.lose(name, "has no min and max", "write low and high")
        elif kind == "int":
            collector.integer(name, low, high, step=step or 1, log=is_log)
        else:
            collector.real(name, low, high, step=step, log=is_log)
    else:
        collector.lose(name, f"the type {kind} is not known", "write a range or a choice")


def _budget(draft: Draft, spec: Mapping[str, Any]) -> dict[str, Any]:
    budget: dict[str, Any] = {"trials": int(spec.get("maxTrialCount") or 20)}
    budget["parallel"] = int(spec.get("parallelTrialCount") or 3)
    if spec.get("maxFailedTrialCount") is not None:
        budget["max_failed"] = int(spec["maxFailedTrialCount"])
    if (goal := spec.get("objective", {}).get("goal")) is not None:
        budget["target"] = float(goal)
    if not spec.get("maxTrialCount"):
        draft.notes.append("budget: the Experiment had no maxTrialCount; 20 trials are written")
    return budget


def _script(draft: Draft, spec: Mapping[str, Any]) -> str:
    """Return the file that a trial runs, as far as the command of its pod names one."""
    template = spec.get("trialTemplate") or {}
    text = str(template.get("trialSpec", ""))
    found = re.findall(r"[\w./-]+\.py", text)
    draft.lost.append(
        "spec.trialTemplate: the training is a script here, which reads "
        "`hpo_pipeline.assignments()` and calls `hpo_pipeline.report` (docs/own-trainer.md); image "
        "and resources of its pod belong into the section cluster"
    )
    return found[0].rpartition("/")[2] if found else SCRIPT


def _number(value: Any) -> Any:
    if value is None or isinstance(value, int | float):
        return value
    try:
        return int(value)
    except ValueError:
        return float(value)


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)
