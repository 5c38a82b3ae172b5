"""What the user believes about good values, around any sampler.

A share of the proposals is drawn around the belief instead of where the sampler wants: the first is
the belief itself, and later ones become rarer with each trial, as the weight of a prior fades in
piBO (Hvarfner et al., ICLR 2022). A mixture of proposals serves every algorithm; it is that of
PriorBand (Mallik et al., NeurIPS 2023), where the best trials say how far to believe, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice
from statistics import NormalDist
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hpo_pipeline.experiment.algorithms.base import Problem
from hpo_pipeline.experiment.rules.axes import Axis
from hpo_pipeline.experiment.space import Value
from hpo_pipeline.results.ranking import fronts
from hpo_pipeline.search import ranked
from hpo_pipeline.search.around import AroundSampler
from hpo_pipeline.search.earlier import EARLIER
from hpo_pipeline.search.grid import GridSampler
from hpo_pipeline.search.pruners import finite_curve, sign_of

WEIGHT = 5
"""A proposal after n others is drawn around the belief with chance WEIGHT / (WEIGHT + n)."""
SPREAD = 0.1
"""Standard deviation of what is drawn around a number, as a share of its range on its scale."""
NEAR = 2 * SPREAD
TOP = 4
"""One trial in so many counts as one of the best."""
MOST_POINTS = 2_000


class PriorSampler(AroundSampler):
    """A sampler around another one, for the proposal of one trial."""

    def __init__(self, inner: BaseSampler, problem: Problem, number: int) -> None:
        """Wrap the sampler of trial `number`."""
        super().__init__(inner, problem.space)
        self._problem = problem
        prior = problem.search.prior
        self._axes = {name: Axis(problem.space[name]) for name in prior}
        self._belief = {
            name: axis.value(axis.place(prior[name])) for name, axis in self._axes.items()
        }
        start = problem.search.start
        self._others = dict(start[0]) if start else {}
        # Equal entries of `start` are tried once.
        self._place = number - len({tuple(sorted(point.items())) for point in start})
        self._rng = np.random.default_rng((problem.search.seed_of(number), 3))

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return what the sampler proposes, or that with values around the belief."""
        space = self.inner.infer_relative_search_space(study, trial)
        found = self.inner.sample_relative(study, trial, space)  # and it takes its notes
        members = self._problem.population_size
        if self._place < 0 or (members is not None and self._place >= members):
            return found  # later members of a population inherit
        if self._place == 0:
            wish = {**found, **self._others, **self._belief}
        elif self._rng.random() < WEIGHT / (WEIGHT + self._place) * self._trust(study):
            wish = {**found, **{name: self._around(name) for name in self._axes}}
        else:
            return found
        if isinstance(self.inner, GridSampler):
            return self._nearest_point(self.inner, study, wish)
        return wish

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return what the sampler draws for a parameter that is left open."""
        return self.inner.sample_independent(study, trial, param_name, param_distribution)

    def _around(self, name: str) -> Value:
        axis = self._axes[name]
        if axis.parameter.type == "choice":
            return self._belief[name]
        middle = axis.shares(np.array([axis.place(self._belief[name])]))[0]
        bell = NormalDist(float(middle), SPREAD)
        low, high = bell.cdf(0), bell.cdf(1)
        share = bell.inv_cdf(low + (high - low) * min(max(self._rng.random(), 1e-9), 1 - 1e-9))
        return axis.value(float(axis.places(np.array([share]))[0]))

    def _trust(self, study: Study) -> float:
        """Return how far results support the belief, up to 1.

        It is how much rarer trials near it are among the best than among all.
        """
        ended = [
            t
            for t in study.get_trials(deepcopy=False)
            if t.state.is_finished() and t.params and EARLIER not in t.user_attrs
        ]
        qualities = _qualities(study, ended)
        near = [self._is_near(t) for t in ended]
        best = sorted(range(len(ended)), key=lambda i: -qualities[i])[: len(ended) // TOP]
        # One more of each, which are near: a few trials tell little.
        among_best = (sum(near[i] for i in best) + 1) / (len(best) + 1)
        return min(1.0, among_best / ((sum(near) + 1) / (len(near) + 1)))

    def _is_near(self, trial: FrozenTrial) -> bool:
        return all(
            _apart(axis, trial.params[name], self._belief[name]) <= NEAR
            for name, axis in self._axes.items()
            if name in trial.params
        )

    def _nearest_point(
        self, grid: GridSampler, study: Study, wish: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the free point of a grid that is nearest to a wish, in the order of the grid."""
        free = list(islice(grid.free(study), MOST_POINTS if self._place else None))
        if not free:
            return wish
        names = self._axes if self._place else [*self._axes, *self._others]
        axes = {name: Axis(self._problem.space[name]) for name in names}

        def distance(point: dict[str, Value]) -> float:
            return sum(_apart(axes[n], point[n], wish[n]) if n in point else 1.0 for n in names)

        return grid.whole(min(free, key=distance))


def _apart(axis: Axis, one: Value, other: Value) -> float:
    """Return how far two values are apart, as a share of the range; two choices are 1."""
    if axis.parameter.type == "choice":
        return float(one != other)
    return float(np.ptp(axis.shares(np.array([axis.place(one), axis.place(other)]))))


def _qualities(study: Study, trials: Sequence[FrozenTrial]) -> list[float]:
    """Return how good ended trials are, more for the better; failed ones are the worst."""
    if len(study.directions) > 1:
        points = [_signed(study, t) for t in trials]
        found = [-math.inf] * len(trials)
        usable = [i for i, point in enumerate(points) if point]
        for place, front in enumerate(fronts([points[i] for i in usable])):
            for i in front:
                found[usable[i]] = -float(place)
        return found
    sign = sign_of(study)
    return [
        sign * t.values[0]
        if t.state == TrialState.COMPLETE
        else max(finite_curve(study, t).values(), default=-math.inf)
        if t.state == TrialState.PRUNED
        else -math.inf
        for t in trials
    ]


def _signed(study: Study, trial: FrozenTrial) -> ranked.Vector:
    if trial.state != TrialState.COMPLETE:
        return ()
    signs = (1 if direction.name == "MAXIMIZE" else -1 for direction in study.directions)
    return tuple(sign * value for sign, value in zip(signs, trial.values, strict=True))
