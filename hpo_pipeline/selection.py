"""Which trial wins: constraints first, then the objective, ties by model size.

Every engine's trials are ranked here and nowhere else. A trial that failed, or whose objective
is not a finite number, is never chosen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from hpo_pipeline.experiment import Experiment
from hpo_pipeline.objective import Constraint, Metrics, Objective
from hpo_pipeline.results import Trial, TrialState


def violation(experiment: Experiment, metrics: Metrics) -> float:
    """Return the sum of what the constraints are missed by; 0 where all hold."""
    return math.fsum(max(0.0, Constraint(c).violation(metrics)) for c in experiment.constraints)


def is_usable(experiment: Experiment, trial: Trial) -> bool:
    """Tell whether a trial may win at all, constraints aside."""
    if trial.state not in (TrialState.SUCCEEDED, TrialState.STOPPED):
        return False
    return all(math.isfinite(o.value(trial.metrics)) for o in experiment.objective)


def rank(experiment: Experiment, trials: Iterable[Trial]) -> list[Trial]:
    """Return the usable trials, best first.

    Those that satisfy the constraints come before those that do not, which are ordered by how
    much they miss them. Several objectives are compared in the order in which the file lists
    them. Equal objectives are decided by model size, then by the earlier trial.
    """
    usable = [trial for trial in trials if is_usable(experiment, trial)]

    def key(trial: Trial) -> tuple[float, ...]:
        values = [-o.sign() * o.value(trial.metrics) for o in experiment.objective]
        size = trial.metrics.get("model_size_mb", math.inf)
        return (violation(experiment, trial.metrics), *values, size, trial.number)

    return sorted(usable, key=key)


def winner(experiment: Experiment, trials: Iterable[Trial]) -> Trial | None:
    """Return the best trial that satisfies the constraints, or None."""
    best = next(iter(rank(experiment, trials)), None)
    if best is None or violation(experiment, best.metrics) > 0:
        return None
    return best


def pareto_front(objectives: Sequence[Objective], trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that no other trial beats in one objective without losing in another."""
    points = [tuple(o.sign() * o.value(t.metrics) for o in objectives) for t in trials]
    return [
        trial
        for trial, point in zip(trials, points, strict=True)
        if not any(_dominates(other, point) for other in points)
    ]


def _dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a >= b for a, b in zip(one, other, strict=True))
