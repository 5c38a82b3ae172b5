"""Katib's experiments, trials and pods as what metrics need to know of them; pure.

Only what Katib's objects say is known: not the constraints of an experiment file, so the best trial
here is the best by Katib's first objective.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from hpo_pipeline.engines.katib import status
from hpo_pipeline.engines.katib.names import EXPERIMENT_LABEL
from hpo_pipeline.engines.kubernetes.api import Object
from hpo_pipeline.engines.kubernetes.capacity import need_of
from hpo_pipeline.engines.kubernetes.conditions import conditions
from hpo_pipeline.engines.kubernetes.diagnosis import failure_cause
from hpo_pipeline.monitoring.snapshot import ExperimentFacts, TrialFacts
from hpo_pipeline.results.trial import TrialState

GPU = re.compile(r"^[a-z0-9.-]+/(gpu|mig-.+)$")
"""Resources that are GPUs: nvidia.com/gpu, amd.com/gpu, and slices of one."""


@dataclass(frozen=True, slots=True)
class KatibTrial:
    """A trial of Katib; times are seconds since 1970."""

    experiment: str
    facts: TrialFacts
    started: float | None
    changed: float


@dataclass(frozen=True, slots=True)
class KatibExperiment:
    """An experiment of Katib; `completed` is None while it runs."""

    facts: ExperimentFacts
    maximize: bool
    created: float
    completed: float | None


@dataclass(frozen=True, slots=True)
class PodFacts:
    """How long a pod waited for a node, and why it failed; None where not known."""

    queue_seconds: float | None
    cause: str | None


def katib_trial(item: Object) -> KatibTrial:
    """Return what a trial says of itself."""
    state = status.katib_state(item)
    metrics = status.observed_metrics(item) if state.is_final else {}
    units = _units(item["spec"].get("runSpec") or {})
    facts = TrialFacts(
        state=state,
        metrics=metrics,
        seconds=status.ended_seconds(item).get("total") if state.is_final else None,
        reason=status.failure(item) if state is TrialState.FAILED else None,
        gpus=units[0],
        cpus=units[1],
    )
    begun = (item.get("status") or {}).get("startTime")
    changes = [c["lastTransitionTime"] for c in conditions(item) if c.get("lastTransitionTime")]
    times = [_time(text) for text in [item["metadata"]["creationTimestamp"], *changes]]
    label = (item["metadata"].get("labels") or {}).get(EXPERIMENT_LABEL, "")
    return KatibTrial(label, facts, _time(begun) if begun else None, max(times))


def katib_experiment(item: Object) -> KatibExperiment:
    """Return what an experiment says of itself."""
    spec, ended = item["spec"], status.ended(item)
    goal = spec.get("objective") or {}
    end = (item.get("status") or {}).get("completionTime")
    facts = ExperimentFacts(
        name=item["metadata"]["name"],
        namespace=item["metadata"].get("namespace", ""),
        state=ended[0] if ended else "running",
        objectives=(goal["objectiveMetricName"],) if "objectiveMetricName" in goal else (),
        planned=spec.get("maxTrialCount"),
    )
    return KatibExperiment(
        facts,
        maximize=goal.get("type") != "minimize",
        created=_time(item["metadata"]["creationTimestamp"]),
        completed=_time(end) if end and ended else None,
    )


def pod_facts(item: Object) -> PodFacts:
    """Return what a trial's pod says: when it had a node, and why it failed."""
    state = item.get("status") or {}
    scheduled = [
        c["lastTransitionTime"]
        for c in state.get("conditions") or ()
        if c["type"] == "PodScheduled" and c["status"] == "True" and c.get("lastTransitionTime")
    ]
    created = _time(item["metadata"]["creationTimestamp"])
    waited = max(0.0, _time(scheduled[0]) - created) if scheduled else None
    return PodFacts(waited, failure_cause(item, "") if state.get("phase") == "Failed" else None)


def with_pod(trial: TrialFacts, pod: PodFacts | None) -> TrialFacts:
    """Return a trial with what its pod says; a pod without a node means that it waits."""
    if pod is None:
        return trial
    state, reason = trial.state, trial.reason
    if state is TrialState.RUNNING and pod.queue_seconds is None:
        state = TrialState.WAITING
    if state is TrialState.FAILED and pod.cause:
        reason = pod.cause
    return replace(trial, state=state, queue_seconds=pod.queue_seconds, reason=reason)


def experiment_facts(
    found: KatibExperiment, trials: Sequence[KatibTrial], *, now: float
) -> ExperimentFacts:
    """Return an experiment with what its trials add: the best of them, and times."""
    started = [trial.started for trial in trials if trial.started is not None]
    return replace(
        found.facts,
        best=_best(found, (trial.facts for trial in trials)),
        seconds=max(0.0, (found.completed or now) - found.created),
        first_trial_seconds=max(0.0, min(started) - found.created) if started else None,
        last_progress=max([found.created, *(trial.changed for trial in trials)]),
    )


def _best(found: KatibExperiment, trials: Iterable[TrialFacts]) -> dict[str, float]:
    sign = 1 if found.maximize else -1
    for name in found.facts.objectives:
        ended = [
            t.metrics
            for t in trials
            if t.state in (TrialState.SUCCEEDED, TrialState.STOPPED)
            and math.isfinite(t.metrics.get(name, math.nan))
        ]
        if ended:
            return dict(max(ended, key=lambda metrics: sign * metrics[name]))
    return {}


def _units(run: Object) -> tuple[float | None, float | None]:
    """Return the GPUs and CPUs that a trial's job asks for; None where its pod is not plain."""
    template = (run.get("spec") or {}).get("template") or {}
    containers = (template.get("spec") or {}).get("containers")
    if not containers:
        return None, None
    asked = need_of("a trial", template["spec"]).requests
    gpus = sum(amount for name, amount in asked.items() if GPU.match(name))
    return gpus, asked.get("cpu")


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
