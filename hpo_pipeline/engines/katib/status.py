"""Katib's custom resources as our trials and results; pure functions of plain objects."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from hpo_pipeline.engines.kubernetes.api import Object
from hpo_pipeline.engines.kubernetes.conditions import condition_message, conditions, has_condition
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.trial import Point, Trial, TrialState
from hpo_pipeline.trial.names import NO_PARENT, PARENT, trial_number

EARLY_STOPPED = "EarlyStopped"
METRICS_UNAVAILABLE = "MetricsUnavailable"
# From the strongest: a trial that was stopped keeps Running, and may get Succeeded as well.
_STATES = {
    EARLY_STOPPED: TrialState.STOPPED,
    "Failed": TrialState.FAILED,
    "Killed": TrialState.FAILED,
    METRICS_UNAVAILABLE: TrialState.FAILED,
    "Succeeded": TrialState.SUCCEEDED,
}


def is_complete(item: Object) -> bool:
    """Return whether an experiment or a trial has ended, in whatever way."""
    return any(has_condition(item, kind) for kind in _STATES)


def katib_state(item: Object) -> TrialState:
    """Return the state that Katib gives a trial, whatever it has reported."""
    return next(
        (s for kind, s in _STATES.items() if has_condition(item, kind)),
        TrialState.RUNNING if has_condition(item, "Running") else TrialState.WAITING,
    )


def state_of(experiment: Experiment, item: Object, *, number: int = 0) -> Trial:
    """Return a trial as Katib shows it.

    A trial that ended without a usable value of every objective has failed, whatever Katib
    says: for Katib one that is not a number can even be the best.

    Args:
        number: for a trial whose name has none.
    """
    name = item["metadata"]["name"]
    pairs = {a["name"]: a["value"] for a in item["spec"].get("parameterAssignments") or ()}
    parent = trial_number(pairs.pop(PARENT, NO_PARENT))
    metrics = observed_metrics(item)
    state = katib_state(item)
    trial = Trial(
        name=name,
        number=found if (found := trial_number(name)) is not None else number,
        state=state,
        assignments=experiment.space.active(experiment.space.parse(pairs)),
        metrics=metrics if state.is_final else {},
        seconds=ended_seconds(item) if state.is_final else {},
        parent=parent,
    )
    if state is TrialState.FAILED:
        return replace(trial, metrics={}, reason=failure(item))
    missing = [o.name for o in experiment.objective if not math.isfinite(o.value(metrics))]
    if state is TrialState.SUCCEEDED and missing:
        reason = f"it reported no finite {', '.join(missing)}"
        return replace(trial, state=TrialState.FAILED, reason=reason)
    if state is TrialState.STOPPED and missing:
        return replace(trial, reason="stopped before it had a result")
    return trial


def states_of(experiment: Experiment, items: Iterable[Object]) -> list[Trial]:
    """Return all trials by number; those whose names have none in the order of creation."""
    by_age = sorted(
        items, key=lambda i: (i["metadata"]["creationTimestamp"], i["metadata"]["name"])
    )
    found = [state_of(experiment, item, number=i) for i, item in enumerate(by_age)]
    return sorted(found, key=lambda trial: trial.number)


def ended(item: Object) -> tuple[str, str] | None:
    """Return succeeded or failed, and what Katib says about it; None while it runs."""
    for kind in ("Succeeded", "Failed"):
        if has_condition(item, kind):
            return kind.lower(), condition_message(item, kind)
    return None


def ended_status(experiment: Object, reason: str, now: datetime, *, failed: bool = False) -> Object:
    """Return what to merge into the status of an experiment so that Katib takes it as over."""
    kind, word = ("Failed", "failed") if failed else ("Succeeded", "succeeded")
    message = f"Experiment has {word} because {reason}"
    return _with_condition(experiment, kind, "ExperimentEndedEarly", message, now)


def killed_status(trial: Object, now: datetime, cause: str | None = None) -> Object:
    """Return what to merge into the status of a trial so that Katib takes it as over.

    Args:
        cause: why it did not finish, where that is known.
    """
    message = cause or "it ended with the experiment"
    return _with_condition(trial, "Killed", "TrialKilled", message, now)


def _with_condition(item: Object, kind: str, reason: str, message: str, now: datetime) -> Object:
    time = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    kept: list[dict[str, Any]] = [
        {**c, "status": "False"} if c["type"] == "Running" else c for c in conditions(item)
    ]
    last = {
        "type": kind,
        "status": "True",
        "reason": reason,
        "message": message,
        "lastUpdateTime": time,
        "lastTransitionTime": time,
    }
    return {"conditions": [*kept, last], "completionTime": time}


def with_curve(trial: Trial, curve: Sequence[Point]) -> Trial:
    """Return a trial with the curve that its log tells."""
    return replace(trial, curve=tuple(curve)) if curve else trial


def or_recorded(trial: Trial, recorded: Trial | None) -> Trial:
    """Return a trial that has ended, or what was recorded of it before.

    Args:
        trial: as Katib shows it now, with what its log tells if that is still there.
        recorded: an earlier record of this name, which holds where it is of the same result.
    """
    if recorded is None or trial.curve or trial.environment:
        return trial
    named = ("state", "assignments", "metrics", "seconds")
    is_same = all(getattr(trial, name) == getattr(recorded, name) for name in named)
    return replace(recorded, number=trial.number) if is_same else trial


def ended_seconds(item: Object) -> dict[str, float]:
    """Return how long a trial that has ended took, from its pod's creation on."""
    begun = (item.get("status") or {}).get("startTime")
    ends: list[str] = [
        c["lastTransitionTime"]
        for c in conditions(item)
        if c["type"] in _STATES and c.get("lastTransitionTime")
    ]
    if not begun or not ends:
        return {}
    passed = datetime.fromisoformat(max(ends)) - datetime.fromisoformat(begun)
    return {"total": max(0.0, passed.total_seconds())}


def observed_metrics(item: Object) -> dict[str, float]:
    """Return the metrics that Katib has of a trial, as far as they are finite."""
    observation = (item.get("status") or {}).get("observation") or {}
    found = {}
    for metric in observation.get("metrics") or ():
        try:
            value = float(metric["latest"])
        except (KeyError, ValueError):
            continue
        if math.isfinite(value):
            found[metric["name"]] = value
    return found


def failure(item: Object) -> str:
    """Return why a trial failed, as far as Katib says."""
    for kind in ("Failed", "Killed", METRICS_UNAVAILABLE):
        if has_condition(item, kind):
            if kind == METRICS_UNAVAILABLE:
                return "it ended without reporting the metrics of the objective"
            return condition_message(item, kind) or kind.lower()
    return "unknown"
