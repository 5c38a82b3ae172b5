"""How much of the space of objectives a search has conquered: the dominated hypervolume.

It grows when the Pareto front does, and is the usual single number for a search with several
objectives (Zitzler and Thiele 1998). It is computed by Optuna, exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from optuna._hypervolume import compute_hypervolume  # public only inside a plot

from hpo_pipeline.experiment.objective import Objective
from hpo_pipeline.results.ranking import signed
from hpo_pipeline.results.trial import Trial


def reference_point(objectives: Sequence[Objective], trials: Sequence[Trial]) -> tuple[float, ...]:
    """Return the worst value that any trial has of each objective, in the objective's own unit.

    Trials must have finite objectives. What only touches the reference counts nothing: neither
    end of a front of two does, so compare hypervolumes of one search with each other only.

    Raises:
        ValueError: there is no trial.
    """
    if not trials:
        raise ValueError("a reference point needs at least one trial")
    points = [signed(objectives, trial.metrics) for trial in trials]
    worst = map(min, zip(*points, strict=True))
    return tuple(o.sign() * value for o, value in zip(objectives, worst, strict=True))


def hypervolume(
    objectives: Sequence[Objective], trials: Sequence[Trial], reference: Sequence[float]
) -> float:
    """Return the volume between the trials' Pareto front and the reference point.

    Its unit is the product of the objectives' units. A trial that is not better than the
    reference in every objective adds nothing.
    """
    if not trials:
        return 0.0
    signs = np.array([o.sign() for o in objectives], dtype=float)
    losses = -np.array([signed(objectives, trial.metrics) for trial in trials])
    limit = -signs * np.asarray(reference, dtype=float)
    inside = losses[(losses < limit).all(axis=1)]
    return float(compute_hypervolume(inside, limit)) if len(inside) else 0.0
