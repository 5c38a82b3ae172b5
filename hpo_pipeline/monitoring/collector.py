"""The custom collector of prometheus-client: snapshots in, samples out; it asks nobody else.

No global metrics and no thread of its own: a scrape sees one consistent state of the source.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector, CollectorRegistry

from hpo_pipeline.monitoring.families import FAMILIES, Family, Type
from hpo_pipeline.monitoring.snapshot import (
    BUCKETS,
    MAX_METRICS,
    Histogram,
    ModelSnapshot,
    ScheduleSnapshot,
    Snapshot,
)
from hpo_pipeline.monitoring.snapshot import shown_metrics as shown

MAX_EXPERIMENTS = 1000
MAX_MODELS = 200
MAX_SCHEDULES = 200
STATES = ("running", "interrupted", "succeeded", "failed")


@dataclass(frozen=True)
class Reading:
    """What a source knows at one time.

    Attributes:
        sources: by the name of a source, whether it could be read, and when.
    """

    experiments: Sequence[Snapshot] = ()
    models: Sequence[ModelSnapshot] = ()
    schedules: Sequence[ScheduleSnapshot] = ()
    sources: Mapping[str, tuple[bool, float]] = field(default_factory=dict)


class Source(Protocol):
    """Answers at once from memory; a scrape never waits for a server."""

    def __call__(self) -> Reading:
        """Return what is known now."""


class HpoCollector(Collector):
    """Writes what a source knows; experiments beyond 1000 are left out, those that run last."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def describe(self) -> Iterable[Metric]:
        return [_empty(family) for family in FAMILIES.values()]

    def collect(self) -> Iterator[Metric]:
        reading = self._source()
        metrics = {name: _empty(family) for name, family in FAMILIES.items()}
        kept = _kept(reading.experiments)
        _add_totals(metrics, reading, len(reading.experiments) - len(kept))
        for snapshot in kept:
            _add_experiment(metrics, snapshot)
        for model in sorted(reading.models, key=lambda m: m.name)[:MAX_MODELS]:
            _add_model(metrics, model)
        for schedule in sorted(reading.schedules, key=lambda s: s.name)[:MAX_SCHEDULES]:
            _add_schedule(metrics, schedule)
        yield from metrics.values()


def registry_of(source: Source) -> CollectorRegistry:
    """Return a registry of prometheus-client that has nothing but this collector."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(HpoCollector(source))
    return registry


def _empty(family: Family) -> Any:
    match family.type:
        case Type.GAUGE:
            return GaugeMetricFamily(family.name, family.help, labels=family.labels)
        case Type.COUNTER:
            return CounterMetricFamily(family.name, family.help, labels=family.labels)
        case Type.HISTOGRAM:
            return HistogramMetricFamily(family.name, family.help, labels=family.labels)


def _kept(experiments: Sequence[Snapshot]) -> list[Snapshot]:
    if len(experiments) <= MAX_EXPERIMENTS:
        return list(experiments)
    by_age = sorted(
        experiments,
        key=lambda s: (s.facts.state == "running", s.facts.last_progress or 0.0),
        reverse=True,
    )
    return by_age[:MAX_EXPERIMENTS]


def _add_totals(metrics: Mapping[str, Any], reading: Reading, omitted: int) -> None:
    states = [snapshot.facts.state for snapshot in reading.experiments]
    for state in STATES:
        metrics["hpo_experiments"].add_metric([state], states.count(state))
    metrics["hpo_experiments_omitted"].add_metric([], omitted)
    for name, (is_up, time) in reading.sources.items():
        metrics["hpo_source_up"].add_metric([name], float(is_up))
        if time:
            metrics["hpo_source_last_read_timestamp_seconds"].add_metric([name], time)


def _add_experiment(metrics: Mapping[str, Any], snapshot: Snapshot) -> None:
    facts = snapshot.facts
    labels = [facts.namespace, facts.name]
    for name, value in {
        "hpo_experiment_running": float(facts.state == "running"),
        "hpo_experiment_planned_trials": facts.planned,
        "hpo_experiment_progress_ratio": snapshot.done,
        "hpo_experiment_trials_per_hour": snapshot.trials_per_hour,
        "hpo_experiment_duration_seconds": facts.seconds,
        "hpo_experiment_cost": facts.cost,
        "hpo_experiment_first_trial_seconds": facts.first_trial_seconds,
        "hpo_experiment_last_progress_timestamp_seconds": facts.last_progress,
        "hpo_saved_gpu_seconds": snapshot.saved_gpu_seconds,
        "hpo_saved_cpu_seconds": snapshot.saved_cpu_seconds,
    }.items():
        if value is not None:
            metrics[name].add_metric(labels, value)
    best = shown(facts)
    several: dict[str, Mapping[Any, float]] = {
        "hpo_experiment_trials": snapshot.trials,
        "hpo_experiment_best_objective": {n: best[n] for n in facts.objectives if n in best},
        "hpo_experiment_best_metric": best,
        "hpo_trial_failures_total": snapshot.failures,
        "hpo_trial_gpu_seconds_total": snapshot.gpu_seconds,
        "hpo_trial_cpu_seconds_total": snapshot.cpu_seconds,
    }
    for name, found in several.items():
        for key, number in found.items():
            metrics[name].add_metric([*labels, str(key)], number)
    for state, histogram in snapshot.durations.items():
        _add_histogram(metrics["hpo_trial_duration_seconds"], [*labels, state.value], histogram)
    if snapshot.queue.count:
        _add_histogram(metrics["hpo_trial_queue_seconds"], labels, snapshot.queue)


def _add_histogram(metric: Any, labels: list[str], histogram: Histogram) -> None:
    bounds = [*(str(bound) for bound in BUCKETS), "+Inf"]
    buckets = [(b, float(n)) for b, n in zip(bounds, histogram.counts, strict=True)]
    metric.add_metric(labels, buckets=buckets, sum_value=histogram.total)


def _add_schedule(metrics: Mapping[str, Any], schedule: ScheduleSnapshot) -> None:
    for name, value in {
        "hpo_schedule_active": float(schedule.is_active),
        "hpo_schedule_missed_runs": schedule.missed,
        "hpo_schedule_last_run_timestamp_seconds": schedule.last_run,
    }.items():
        if value is not None:
            metrics[name].add_metric([schedule.name], value)


def _add_model(metrics: Mapping[str, Any], model: ModelSnapshot) -> None:
    labels = [model.name]
    for name, value in {
        "hpo_model_versions": model.versions,
        "hpo_model_last_registered_timestamp_seconds": model.last_registered,
        "hpo_champion_version": model.champion_version,
        "hpo_champion_created_timestamp_seconds": model.champion_created,
    }.items():
        if value is not None:
            metrics[name].add_metric(labels, value)
    for name, value in sorted(model.champion_metrics.items())[:MAX_METRICS]:
        metrics["hpo_champion_metric"].add_metric([*labels, name], value)
