"""Every metric that is exported: its name, type, labels and meaning. The one place for names.

Names follow Prometheus' conventions: base units, `_total` on counters only, times as `_timestamp_`.
Dashboards, alerts and documentation are checked against this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Type(StrEnum):
    """The types of Prometheus that are used."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True)
class Family:
    """One metric; `labels` are those beside the ones of its subject."""

    name: str
    type: Type
    help: str
    labels: tuple[str, ...]

    @property
    def sample_names(self) -> tuple[str, ...]:
        """The names that a query can use."""
        if self.type is Type.HISTOGRAM:
            return tuple(f"{self.name}_{end}" for end in ("bucket", "count", "sum"))
        return (self.name,)


EXPERIMENT = ("namespace", "experiment")
MODEL = ("model",)
SCHEDULE = ("schedule",)


def _of(subject: tuple[str, ...], name: str, kind: Type, text: str, *labels: str) -> Family:
    return Family(name, kind, text, (*subject, *labels))


_G, _C, _H = Type.GAUGE, Type.COUNTER, Type.HISTOGRAM
_E, _M, _S = EXPERIMENT, MODEL, SCHEDULE
_LIST = (
    _of((), "hpo_experiments", _G, "Experiments by state.", "state"),
    _of((), "hpo_experiments_omitted", _G, "Experiments left out to bound the series."),
    _of((), "hpo_source_up", _G, "1 if a source of metrics could be read last time.", "source"),
    _of(
        (),
        "hpo_source_last_read_timestamp_seconds",
        _G,
        "When a source of metrics last answered or sent news.",
        "source",
    ),
    _of(_E, "hpo_experiment_running", _G, "1 while the experiment runs, else 0."),
    _of(_E, "hpo_experiment_planned_trials", _G, "Trials that the budget allows."),
    _of(_E, "hpo_experiment_trials", _G, "Trials by state.", "state"),
    _of(_E, "hpo_experiment_progress_ratio", _G, "Part of the planned trials done, 0 to 1."),
    _of(_E, "hpo_experiment_best_objective", _G, "Objectives of the best trial.", "objective"),
    _of(_E, "hpo_experiment_best_metric", _G, "Metrics of the best trial, at most 20.", "metric"),
    _of(_E, "hpo_experiment_trials_per_hour", _G, "Ended trials an hour over the whole run."),
    _of(_E, "hpo_experiment_duration_seconds", _G, "How long the experiment has run."),
    _of(_E, "hpo_experiment_cost", _G, "What the trials have cost, in the currency of `prices`."),
    _of(
        _E,
        "hpo_experiment_first_trial_seconds",
        _G,
        "Time from the experiment's creation to the start of its first trial.",
    ),
    _of(
        _E,
        "hpo_experiment_last_progress_timestamp_seconds",
        _G,
        "When a trial last started, reported or ended.",
    ),
    _of(_E, "hpo_trial_failures_total", _C, "Failed trials by kind of reason.", "reason"),
    _of(_E, "hpo_trial_duration_seconds", _H, "Wall time of ended trials by state.", "state"),
    _of(
        _E,
        "hpo_trial_queue_seconds",
        _H,
        "Time from the creation of a trial's pod until the pod had a node.",
    ),
    _of(_E, "hpo_trial_gpu_seconds_total", _C, "GPU-seconds held by ended trials.", "state"),
    _of(_E, "hpo_trial_cpu_seconds_total", _C, "CPU-seconds held by ended trials.", "state"),
    _of(
        _E,
        "hpo_saved_gpu_seconds",
        _G,
        "Estimated GPU-seconds saved by stopping, against the mean succeeded trial.",
    ),
    _of(
        _E,
        "hpo_saved_cpu_seconds",
        _G,
        "Estimated CPU-seconds saved by stopping, against the mean succeeded trial.",
    ),
    _of(_M, "hpo_model_versions", _G, "Registered versions of a model."),
    _of(
        _M,
        "hpo_model_last_registered_timestamp_seconds",
        _G,
        "When the last version of a model was registered.",
    ),
    _of(_M, "hpo_champion_version", _G, "Version number of the champion."),
    _of(_M, "hpo_champion_created_timestamp_seconds", _G, "When the champion was registered."),
    _of(_M, "hpo_champion_metric", _G, "Test metrics of the champion, at most 20.", "metric"),
    _of(_S, "hpo_schedule_active", _G, "1 while the schedule is on, else 0."),
    _of(_S, "hpo_schedule_missed_runs", _G, "Starts since the last run that brought none."),
    _of(
        _S,
        "hpo_schedule_last_run_timestamp_seconds",
        _G,
        "When the schedule last started a run.",
    ),
)
FAMILIES = {family.name: family for family in _LIST}


def markdown_table() -> str:
    """Return all metrics as a table for the documentation."""
    rows = [
        f"| `{f.name}` | {f.type.value} | {', '.join(f.labels)} | {f.help} |"
        for f in FAMILIES.values()
    ]
    return "\n".join(["| metric | type | labels | meaning |", "| --- | --- | --- | --- |", *rows])
