"""How values are written for people: numbers, durations, assignments, objectives.

Used by the progress display, the command line and the report, so that the same value reads the
same everywhere. What machines read back is written by space.render and results.py instead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from hpo_pipeline.experiment.metrics import Metrics
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.space import Assignments, Value, render
from hpo_pipeline.experiment.verdict import Interval
from hpo_pipeline.results.outcome import Confirmed
from hpo_pipeline.results.training_progress import TrainingProgress
from hpo_pipeline.results.trial import Trial

UNKNOWN = "—"
THIN_SPACE = "\u202f"

_SHORT_NAMES = {
    "learning_rate": "lr",
    "per_device_train_batch_size": "batch_size",
    "num_train_epochs": "epochs",
    "num_hidden_layers": "layers",
    "num_attention_heads": "heads",
}


def number(measured: float | None) -> str:
    """Write a measured number with four digits, so that shares of one stand in line."""
    if measured is None or not math.isfinite(measured):
        return UNKNOWN
    if isinstance(measured, int) or abs(measured) >= 10_000:
        return f"{measured:,.0f}".replace(",", THIN_SPACE)
    return f"{measured:#.4g}" if 0.01 <= abs(measured) < 1 else f"{measured:.4g}"


def sampled(measured: float | None, interval: Interval | None) -> str:
    """Write a measured number with its 95 % interval, where it has one."""
    if measured is None or interval is None:
        return number(measured)
    low, high = interval
    return f"{number(measured)} ({number(low)} to {UNKNOWN if high is None else number(high)})"


def value(given: Value) -> str:
    """Write the value of a parameter, a real one with four digits at most."""
    return f"{given:.4g}" if isinstance(given, float) else render(given)


def duration(seconds: float | None) -> str:
    """Write a duration in its two largest units."""
    if seconds is None or not math.isfinite(seconds):
        return UNKNOWN
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def training(progress: TrainingProgress) -> str:
    """Write how far a training is: `epoch 1 of 3, step 50 of 150`."""
    parts = []
    if progress.epochs is not None:
        parts.append(f"epoch {progress.epoch:.3g} of {progress.epochs:.3g}")
    if progress.steps is not None:
        parts.append(f"step {progress.step} of {progress.steps}")
    return ", ".join(parts)


def short_name(parameter: str) -> str:
    """Return a parameter's name without its section, shortened where there is a usual way."""
    name = parameter.rpartition(".")[2]
    return _SHORT_NAMES.get(name, name)


def assignments(values: Assignments) -> str:
    """Write assignments on one line, with short names where these stay unique."""
    names = _unique_names(values)
    return " ".join(f"{names[name]}={value(given)}" for name, given in values.items())


def objectives(experiment: Experiment, metrics: Metrics) -> str:
    """Write the values of all objectives on one line."""
    return " · ".join(number(o.value(metrics)) for o in experiment.objective)


def confirmed(experiment: Experiment, found: Confirmed) -> str:
    """Write the mean and the spread of all objectives over the seeds on one line."""
    parts = [f"{o.name} {spread(found, o.name)}" for o in experiment.objective]
    parts = parts if found.seeds else []
    parts += [f"failed with seed {seed}: {reason}" for seed, reason in found.failed.items()]
    parts += [f"{len(found.seeds)} seeds"] if found.seeds else []
    return ", ".join(parts)


def spread(found: Confirmed, metric: str) -> str:
    """Write the mean of a metric over the seeds and its standard deviation."""
    deviation = f" ± {found.std[metric]:.2g}" if metric in found.std else ""
    return number(found.mean.get(metric)) + deviation


def _unique_names(values: Mapping[str, Value]) -> dict[str, str]:
    short = {name: short_name(name) for name in values}
    taken = list(short.values())
    return {name: text if taken.count(text) == 1 else name for name, text in short.items()}


def no_winner(trials: Sequence[Trial], ranked: Sequence[Trial], ended: str | None) -> str:
    """Return why a search has no winner."""
    start = f"{ended}; " if ended else ""
    if ranked:
        return f"{start}no trial satisfies the constraints"
    reasons = dict.fromkeys(t.reason for t in trials if t.reason)
    listed = "; ".join(list(map(str, reasons))[:3])
    return f"{start}no trial has a result{': ' + listed if listed else ''}"
