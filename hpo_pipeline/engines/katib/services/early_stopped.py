"""Marking a trial EarlyStopped, with its values, so that Katib leaves it alone from then on.

Katib fetches the values of an early stopped trial anew whenever the trial changes, and lists them
in another order each time, which is a change: several updates a second, for each such trial and
for as long as it exists (trial_controller.go, getMetrics). It does so only while the trial's job
matches a condition of success or failure. The values are therefore written here, and the
conditions are replaced by one that no job matches.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from hpo_pipeline.engines.katib.services.serving import NotNow
from hpo_pipeline.engines.katib.status import EARLY_STOPPED, is_complete
from hpo_pipeline.engines.kubernetes.api import TRIALS, Api, Object
from hpo_pipeline.engines.kubernetes.conditions import has_condition
from hpo_pipeline.errors import ClusterError
from hpo_pipeline.results.trial import Point

logger = logging.getLogger(__name__)

NO_JOB = "status.looked-at-no-more"
"""A condition (a path of gjson) that no job matches."""
UNAVAILABLE = "unavailable"
FORBIDDEN = 403


def mark_stopped(
    api: Api,
    namespace: str,
    trial: str,
    metrics: Mapping[str, float] | None = None,
    curve: Sequence[Point] = (),
) -> None:
    """Add the condition EarlyStopped to a trial, unless it has ended in another way.

    Args:
        metrics: its values; without a value of the objective, Katib is left to look for them.
        curve: its evaluations, of which Katib keeps the least and the greatest value.

    Raises:
        NotNow: the cluster did not take it; asking again may help.
    """
    try:
        found = api.get(TRIALS, namespace, trial)
        observed = _observation(found, metrics or {}, curve)
        if not has_condition(found, EARLY_STOPPED):
            if is_complete(found):
                return
            operations = [_add("/status/conditions/-", _condition(datetime.now(UTC)))]
            if observed is not None:
                operations.append(_add("/status/observation", observed))
            api.patch(TRIALS, namespace, trial, operations, subresource="status")
        if observed is not None and found["spec"].get("successCondition") != NO_JOB:
            _settle(api, namespace, trial)
    except ClusterError as error:
        raise NotNow(f"{trial}: {error}") from error


def _settle(api: Api, namespace: str, trial: str) -> None:
    try:
        conditions = {"spec": {"successCondition": NO_JOB, "failureCondition": NO_JOB}}
        api.patch(TRIALS, namespace, trial, conditions)
    except ClusterError as error:
        if error.status != FORBIDDEN:
            raise
        # A Role of an earlier version: the trial is marked, and Katib is merely busy with it.
        logger.warning("%s: %s; apply manifests/base anew", trial, error)


def _add(path: str, value: Any) -> Object:
    return {"op": "add", "path": path, "value": value}


def _condition(now: datetime) -> Object:
    time = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "type": EARLY_STOPPED,
        "status": "True",
        "reason": "TrialEarlyStopped",
        "message": "Trial is early stopped",
        "lastUpdateTime": time,
        "lastTransitionTime": time,
    }


def _observation(
    item: Object, metrics: Mapping[str, float], curve: Sequence[Point]
) -> Object | None:
    """Return the values as Katib would fetch them; None where the objective has none."""
    objective = item["spec"].get("objective") or {}
    first = objective.get("objectiveMetricName")
    if first not in metrics:
        return None
    names = [first, *(objective.get("additionalMetricNames") or ())]
    return {"metrics": [_metric(name, metrics, curve) for name in names]}


def _metric(name: str, metrics: Mapping[str, float], curve: Sequence[Point]) -> dict[str, str]:
    values = [point.metrics[name] for point in curve if name in point.metrics]
    values += [metrics[name]] if name in metrics else []
    if not values:
        return {"name": name, "min": UNAVAILABLE, "max": UNAVAILABLE, "latest": UNAVAILABLE}
    least, greatest = repr(min(values)), repr(max(values))
    return {"name": name, "min": least, "max": greatest, "latest": repr(values[-1])}
