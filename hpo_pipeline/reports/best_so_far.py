"""How the best value of a run grew, as points that a chart can draw; pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.ranking import RankKey, is_usable, rank_key
from hpo_pipeline.results.trial import Trial

CHART_POINTS = 300


def best_so_far(experiment: Experiment, trials: Sequence[Trial]) -> list[list[float]]:
    """Return the best first objective after each ended trial, thinned out: [number, value].

    Trials that miss a constraint do not count.
    """
    usable = (trial for trial in trials if is_usable(experiment, trial))
    return growth(experiment, [rank_key(experiment, trial) for trial in usable])


def growth(experiment: Experiment, keys: Iterable[RankKey]) -> list[list[float]]:
    """Return the same from what the trials are ranked by."""
    sign, best, points = experiment.objective[0].sign(), -math.inf, []
    for key in sorted(keys, key=lambda key: key.number):
        if key.point[0] > best and key.violation <= 0:
            best = key.point[0]
        if math.isfinite(best):
            points.append([float(key.number), sign * best])
    return thinned(points)


def thinned(points: list[list[float]]) -> list[list[float]]:
    """Return every n-th point and the last, so that a chart has at most 300 and one."""
    step = math.ceil(len(points) / CHART_POINTS)
    return points if step <= 1 else [*points[::step], points[-1]]
