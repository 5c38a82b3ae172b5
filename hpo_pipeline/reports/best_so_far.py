"""How the best value of a run grew, as points that a chart can draw; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.ranking import violation
from hpo_pipeline.results.trial import Trial, TrialState

CHART_POINTS = 300


def best_so_far(experiment: Experiment, trials: Sequence[Trial]) -> list[list[float]]:
    """Return the best first objective after each ended trial, thinned out: [number, value].

    Trials that miss a constraint do not count.
    """
    first, points = experiment.objective[0], []
    best = -math.inf
    for trial in trials:
        if trial.state not in (TrialState.SUCCEEDED, TrialState.STOPPED):
            continue
        value = first.sign() * first.value(trial.metrics)
        if value > best and violation(experiment, trial) <= 0:
            best = value
        if math.isfinite(best):
            points.append([float(trial.number), first.sign() * best])
    return thinned(points)


def thinned(points: list[list[float]]) -> list[list[float]]:
    """Return every n-th point and the last, so that a chart has at most 300 and one."""
    step = math.ceil(len(points) / CHART_POINTS)
    return points if step <= 1 else [*points[::step], points[-1]]
