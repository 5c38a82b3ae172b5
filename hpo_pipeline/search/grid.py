"""Grid search as a sampler of Optuna."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from itertools import chain
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial

from hpo_pipeline.experiment.rules import NO_RULES, Rules
from hpo_pipeline.experiment.rules.region import Region, region_of
from hpo_pipeline.experiment.space import ANY_NAMES, Space, Value
from hpo_pipeline.search.whole_space import WholeSpaceSampler

Point = dict[str, Value]


class GridSampler(WholeSpaceSampler):
    """Every point once, in an order that the seed decides.

    Optuna's own grid gives points by the trial's number, so that start configurations are tried
    twice and other points never; and it calls Study.stop, which needs Study.optimize.
    """

    def __init__(self, space: Space, seed: int, rules: Rules = NO_RULES) -> None:
        super().__init__(space)
        self._rules = rules
        self._seed = seed

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the first point that no trial has; after the last one, the first again.

        Of points that differ only where conditions do not hold, one is enough.
        """
        return self.whole(next(chain(self.free(study), self._points())))

    def free(self, study: Study) -> Iterator[Point]:
        """Return the active part of each point that no trial has, in the order of the seed."""
        active = self._space.active
        taken = {_key(active(t.params)) for t in study.get_trials(deepcopy=False) if t.params}
        return (point for point in self._points() if _key(point) not in taken)

    def whole(self, point: Point) -> Point:
        """Return a point with values for parameters whose conditions do not hold."""
        return {name: point.get(name, self._space[name].point(0)) for name in self._space}

    def _points(self) -> Iterator[Point]:
        """Yield the active part of each point, in the order of the seed."""
        if self._rules:
            size, point = _ruled(region_of(self._space, self._rules))
            order = np.random.RandomState(self._seed).permutation(size)
            return map(point, map(int, order))
        if self._space.has_conditions:
            points = _conditional_points(self._space.model_dump_json())
            order = np.random.RandomState(self._seed).permutation(len(points))
            return (points[i] for i in order)
        size = math.prod(self._space[name].count() or 1 for name in self._space)
        order = np.random.RandomState(self._seed).permutation(size)
        return map(self._point, map(int, order))

    def _point(self, index: int) -> Point:
        point = {}
        for name in self._space:
            index, place = divmod(index, self._space[name].count() or 1)
            point[name] = self._space[name].point(place)
        return point


def _ruled(region: Region) -> tuple[int, Callable[[int], Point]]:
    """Return how many points keep the rules, and a function that gives each by its number.

    Groups of parameters are independent, so that a point is a combination of theirs.
    """
    tables: list[tuple[int, Callable[[int], Point]]] = []
    for group in region.groups:
        rows = region.listed(group)
        assert rows is not None, "checks/ refuses what cannot be listed"
        tables.append((len(rows[group[0]]), partial(_row, region, rows, region.active(rows))))
    for group in region.free:
        part = Space({name: region.space[name] for name in group})
        points = _conditional_points(part.model_dump_json())
        tables.append((len(points), points.__getitem__))

    def point(index: int) -> Point:
        found: Point = {}
        for size, of in tables:
            index, place = divmod(index, size)
            found |= of(place)
        return {name: found[name] for name in region.space if name in found}

    return math.prod(size for size, _ in tables), point


def _row(region: Region, rows: Any, active: Mapping[str, Any], row: int) -> Point:
    """Return the active part of a row."""
    return {n: v for n, v in region.assignments(rows, row).items() if active[n][row]}


@lru_cache(maxsize=64)  # a sampler is built for each trial, and the points stay the same
def _conditional_points(space_json: str) -> list[Point]:
    """Return the distinct points of a space, without parameters whose conditions do not hold.

    There are as many as the size of the space, which checks/ bounds, however wide a range is
    that does not count.
    """
    space = Space.model_validate_json(space_json, context={ANY_NAMES: True})
    points: list[Point] = [{}]
    for name in space:
        values = [space[name].point(i) for i in range(_needed(space, name, points))]
        points = [
            {**point, **extra}
            for point in points
            for extra in ([{name: v} for v in values] if space.holds(name, point) else [{}])
        ]
    return points


def _needed(space: Space, name: str, points: list[Point]) -> int:
    is_used = any(space.holds(name, point) for point in points)
    return (space[name].count() or 1) if is_used else 0


def _key(params: Mapping[str, Value]) -> frozenset[tuple[str, Value]]:
    # A start configuration may write 0.30000000000000004 for the point 0.3.
    rounded = {n: float(f"{v:.12g}") if isinstance(v, float) else v for n, v in params.items()}
    return frozenset(rounded.items())
