"""The best point of an acquisition function among the configurations that keep the rules.

Optuna's own climb knows no rules, and would propose the same broken point however often it is
asked. Here many points that keep the rules are compared, the best are moved about where they
keep them, and Optuna's climb from these counts where it ends at a point that does, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from optuna._gp.optim_mixed import local_search_mixed_batched

from hpo_pipeline.experiment.rules.drawing import perturbed, several
from hpo_pipeline.experiment.rules.region import Region

_DRAWN, _CLIMBED, _MOVED, _ROUNDS = 2048, 10, 32, 6
_TOLERANCE = 1e-4


def best_kept(region: Region, acqf: Any, known: Any, random: np.random.RandomState) -> Any:
    """Return the best point that keeps the rules, in the acquisition function's own coordinates.

    None where no point was found that keeps them.

    Args:
        acqf: Optuna's acquisition function, with its search space.
        known: points to begin with, or None.
    """
    rng = np.random.default_rng(random.randint(2**31, size=4))
    rows = several(region, rng, _DRAWN)
    if rows is None:
        return None
    view = _View(region, list(acqf.search_space._optuna_search_space))
    points = view.points(rows)
    if known is not None:
        points = np.vstack([points, known[view.keeps(known)]])
    values = acqf.eval_acqf_no_grad(points)
    best = np.argsort(-values)[:_CLIMBED]
    points, values = points[best], values[best]
    for _ in range(_ROUNDS):
        moved = view.moved(rng, np.repeat(points, _MOVED, axis=0))
        points, values = _better(acqf, points, values, moved[view.keeps(moved)])
    climbed, _ = local_search_mixed_batched(acqf, points.copy(), tol=_TOLERANCE)
    points, values = _better(acqf, points, values, climbed[view.keeps(climbed)])
    return points[0]


def _better(acqf: Any, points: Any, values: Any, others: Any) -> tuple[Any, Any]:
    """Return the best of points and others, the very best first."""
    if len(others):
        points = np.vstack([points, others])
        values = np.concatenate([values, acqf.eval_acqf_no_grad(others)])
    best = np.argsort(-values)[:_CLIMBED]
    return points[best], values[best]


class _View:
    """A region in Optuna's coordinates: shares of the ranges as ours are, but numbers of choices.

    `names` are the parameters of the coordinates; others have a single value.
    """

    def __init__(self, region: Region, names: list[str]) -> None:
        self._region = region
        self._axes = [region.axes[name] for name in names]
        self._names = names
        self._is_choice = [region.space[name].type == "choice" for name in names]

    def points(self, places: Any) -> Any:
        """Return rows of places as points."""
        columns = [
            places[name] if is_choice else axis.shares(places[name])
            for name, axis, is_choice in zip(self._names, self._axes, self._is_choice, strict=True)
        ]
        return np.stack(columns, axis=1)

    def _places(self, points: Any) -> Any:
        found = {name: np.zeros(len(points)) for name in self._region.space}
        for i, axis in enumerate(self._axes):
            column = points[:, i]
            found[self._names[i]] = column if self._is_choice[i] else axis.places(column)
        return found

    def keeps(self, points: Any) -> Any:
        """Return which points keep the rules."""
        if not len(points):
            return np.zeros(0, bool)
        return self._region.mask(self._places(points))

    def moved(self, rng: np.random.Generator, points: Any) -> Any:
        """Return points near others, each at a value that its parameter has."""
        shares = points.copy()
        for i, axis in enumerate(self._axes):
            if self._is_choice[i]:
                shares[:, i] = axis.shares(points[:, i])
        shares = perturbed(rng, shares)
        placed = [axis.places(shares[:, i]) for i, axis in enumerate(self._axes)]
        return self.points(dict(zip(self._names, placed, strict=True)))
