"""The state of a search, in numbers and words that both displays share.

Pure functions of the trials: the best so far, the counts, the time left. The ranking is
selection.py's, so that what is shown as best while it runs is what wins in the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from hpo_pipeline.experiment.metrics import Metrics
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.reports import formatting
from hpo_pipeline.results.trial import Trial, TrialState


def done(trials: Sequence[Trial]) -> int:
    """Return how many trials are over."""
    return sum(trial.state.is_final for trial in trials)


def counts(trials: Sequence[Trial]) -> str:
    """Return how many trials are in each state, as words."""
    states = [trial.state for trial in trials]
    return ", ".join(f"{states.count(s)} {s.value}" for s in TrialState if s in states)


def best(experiment: Experiment, leader: Trial | None) -> str:
    """Return the best trial so far that meets the constraints, if there is one, as words."""
    if leader is None:
        return f"best {formatting.UNKNOWN}"
    return f"best {formatting.objectives(experiment, leader.metrics)} ({leader.name})"


def named_objectives(experiment: Experiment, metrics: Metrics) -> str:
    """Return the objectives with their names."""
    return " ".join(f"{o.name} {formatting.number(o.value(metrics))}" for o in experiment.objective)


def now(experiment: Experiment, trial: Trial) -> str:
    """Return the objectives of a trial's latest evaluation."""
    if not trial.curve:
        return formatting.UNKNOWN
    return formatting.objectives(experiment, trial.curve[-1].metrics)


def best_of(experiment: Experiment, trial: Trial) -> str:
    """Return the objectives of a trial: its result, or its best evaluation while it runs."""
    if trial.metrics:
        return formatting.objectives(experiment, trial.metrics)
    first = experiment.objective[0]
    measured = [p for p in trial.curve if math.isfinite(first.value(p.metrics))]
    if not measured:
        return formatting.UNKNOWN
    top = max(measured, key=lambda point: first.sign() * first.value(point.metrics))
    return formatting.objectives(experiment, top.metrics)


def remaining(
    experiment: Experiment, trials: Sequence[Trial], *, total: int, seconds: float
) -> float | None:
    """Return the seconds left at the rate so far, at most what the budget leaves; None unknown.

    A running trial counts half: on average it is half through.
    """
    over = done(trials)
    if not over or seconds <= 0:
        return None
    through = over + sum(trial.state is TrialState.RUNNING for trial in trials) / 2
    left = max(0.0, total - through) * seconds / through
    if experiment.budget.minutes is None:
        return left
    return min(left, max(0.0, experiment.budget.minutes * 60 - seconds))
