"""What is measured of experiments and models, as frozen values: the source of all metrics.

Pure: `measure` turns what is known of the trials into one snapshot, whichever engine ran them.
What is not known is None or left out, never zero.
"""

from __future__ import annotations

import bisect
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hpo_pipeline.monitoring.failure_kinds import failure_kind
from hpo_pipeline.results.trial import TrialState

BUCKETS = (1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
"""Upper bounds of all histograms, in seconds: from toy trials to a day."""
MAX_METRICS = 20
"""How many metrics of the best trial are shown for an experiment."""


@dataclass(frozen=True, slots=True)
class TrialFacts:
    """What metrics need to know of one trial.

    Attributes:
        seconds: wall time of a trial that has ended.
        queue_seconds: from the creation of its pod until the pod had a node.
        reason: why it failed, in words.
        gpus: how many GPUs it holds; `cpus` likewise.
        done: the part of the training that a running trial has behind it, 0 to 1.
    """

    state: TrialState
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float | None = None
    queue_seconds: float | None = None
    reason: str | None = None
    gpus: float | None = None
    cpus: float | None = None
    done: float | None = None


Units = Callable[[TrialFacts], float | None]
"""How many GPUs or CPUs a trial holds."""


@dataclass(frozen=True)
class ExperimentFacts:
    """What is known of an experiment beside its trials; times are seconds since 1970.

    Attributes:
        state: running, interrupted, succeeded or failed.
        best: the metrics of the best trial, `objectives` those of them that are the goal.
        planned: how many trials the budget allows.
        seconds: how long it has run.
        first_trial_seconds: from its creation to the start of its first trial.
        last_progress: when a trial last started, reported or ended.
        cost: of its trials, in the currency of its prices.
    """

    name: str
    state: str
    namespace: str = ""
    objectives: tuple[str, ...] = ()
    best: Mapping[str, float] = field(default_factory=dict)
    planned: int | None = None
    seconds: float | None = None
    first_trial_seconds: float | None = None
    last_progress: float | None = None
    cost: float | None = None


@dataclass(frozen=True)
class Histogram:
    """Counts by upper bound, each with all that is below, as Prometheus has them."""

    counts: tuple[int, ...]
    total: float

    @property
    def count(self) -> int:
        """How many values there are."""
        return self.counts[-1]

    @classmethod
    def of(cls, values: Iterable[float]) -> Histogram:
        """Count values; the last count is that of all."""
        found = list(values)
        each = Counter(bisect.bisect_left(BUCKETS, value) for value in found)
        counts, below = [], 0
        for place in range(len(BUCKETS) + 1):
            below += each[place]
            counts.append(below)
        return cls(tuple(counts), math.fsum(found))


@dataclass(frozen=True)
class Snapshot:
    """One experiment, ready to be written as samples.

    Attributes:
        trials: how many are in each state.
        durations: by the state in which trials ended; `queue` for all.
        gpu_seconds: held by ended trials, by state; `cpu_seconds` likewise.
        saved_gpu_seconds: an estimate of what stopping saved, against the mean succeeded trial.
        failures: how many trials failed, by kind of reason.
        done: the part of the planned trials that is done, trials under way included.
    """

    facts: ExperimentFacts
    trials: Mapping[TrialState, int]
    durations: Mapping[TrialState, Histogram]
    queue: Histogram
    gpu_seconds: Mapping[TrialState, float]
    cpu_seconds: Mapping[TrialState, float]
    saved_gpu_seconds: float | None
    saved_cpu_seconds: float | None
    failures: Mapping[str, int]
    done: float | None

    @property
    def ended(self) -> int:
        """How many trials have ended."""
        return sum(count for state, count in self.trials.items() if state.is_final)

    @property
    def trials_per_hour(self) -> float | None:
        """The rate over the whole run so far."""
        seconds = self.facts.seconds
        return self.ended * 3600 / seconds if seconds else None


@dataclass(frozen=True)
class ModelSnapshot:
    """A registered model; times are seconds since 1970."""

    name: str
    versions: int
    last_registered: float | None = None
    champion_version: int | None = None
    champion_created: float | None = None
    champion_metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ScheduleSnapshot:
    """A schedule of Kubeflow Pipelines.

    Attributes:
        missed: how many of its starts since its last run brought none.
        last_run: when its last run was created, in seconds since 1970.
    """

    name: str
    is_active: bool
    missed: int | None = None
    last_run: float | None = None


def measure(facts: ExperimentFacts, trials: Sequence[TrialFacts]) -> Snapshot:
    """Return the snapshot of an experiment with these trials."""
    ended = [trial for trial in trials if trial.state.is_final]
    counts = Counter(trial.state for trial in trials)
    failed = (t.reason or "" for t in ended if t.state is TrialState.FAILED)
    return Snapshot(
        facts=facts,
        trials={state: counts[state] for state in TrialState},
        durations={
            state: Histogram.of(t.seconds for t in ended if t.state is state and t.seconds)
            for state in TrialState
            if counts[state] and state.is_final
        },
        queue=Histogram.of(t.queue_seconds for t in trials if t.queue_seconds is not None),
        gpu_seconds=_held(ended, _gpus),
        cpu_seconds=_held(ended, _cpus),
        saved_gpu_seconds=_saved(ended, _gpus),
        saved_cpu_seconds=_saved(ended, _cpus),
        failures=Counter(failure_kind(reason) for reason in failed),
        done=_done(facts, trials),
    )


def shown_metrics(facts: ExperimentFacts) -> dict[str, float]:
    """Return the metrics of the best trial that are shown: objectives first, at most 20."""
    finite = {name: v for name, v in facts.best.items() if math.isfinite(v)}
    names = [n for n in facts.objectives if n in finite]
    names += sorted(finite.keys() - set(names))
    return {name: finite[name] for name in names[:MAX_METRICS]}


def _gpus(trial: TrialFacts) -> float | None:
    return trial.gpus


def _cpus(trial: TrialFacts) -> float | None:
    return trial.cpus


def _held(ended: Sequence[TrialFacts], units: Units) -> dict[TrialState, float]:
    """Return unit-seconds by state; empty where no trial says how many units it holds."""
    found: dict[TrialState, float] = {}
    for trial in ended:
        held = units(trial)
        if held is not None and trial.seconds is not None:
            found[trial.state] = found.get(trial.state, 0.0) + held * trial.seconds
    return found


def _saved(ended: Sequence[TrialFacts], units: Units) -> float | None:
    """Return the unit-seconds that stopped trials did not use, had they been as long as others.

    None where that is not known: no trial has succeeded, or a stopped one does not say.
    """
    whole = [t.seconds for t in ended if t.state is TrialState.SUCCEEDED and t.seconds]
    if not whole or all(units(trial) is None for trial in ended):
        return None
    mean = math.fsum(whole) / len(whole)
    stopped = [t for t in ended if t.state is TrialState.STOPPED and t.seconds is not None]
    return math.fsum((units(t) or 0.0) * max(0.0, mean - (t.seconds or 0.0)) for t in stopped)


def _done(facts: ExperimentFacts, trials: Sequence[TrialFacts]) -> float | None:
    if not facts.planned:
        return None
    through = sum(1.0 if t.state.is_final else t.done or 0.0 for t in trials)
    return min(1.0, through / facts.planned)
