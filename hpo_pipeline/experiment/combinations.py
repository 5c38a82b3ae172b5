"""How many configurations a space has, at a cost that does not grow with the width of a range."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from hpo_pipeline.experiment.conditions import Value, meets, thresholds

State = tuple[tuple[str, Value], ...]
"""The values of parameters that are active and that a later condition asks for."""

MAX_STATES = 10_000


class Countable(Protocol):
    """A parameter: its values, in ascending order where they are numbers, and its conditions."""

    @property
    def when(self) -> Mapping[str, tuple[Value, ...]]:
        """The conditions on earlier parameters under which it counts."""

    def count(self) -> int | None:
        """Return the number of values, or None where the range is continuous."""

    def point(self, i: int) -> Value:
        """Return the i-th value."""


def combinations(
    parameters: Mapping[str, Countable], holds: Callable[[str, Mapping[str, Value]], bool]
) -> int | None:
    """Return the number of configurations, those that differ in active parameters only.

    The parameters are visited in their order, counting the ways to reach each combination of
    values; those that every later condition takes for the same are counted together.

    Args:
        holds: says whether a parameter is active, given the active ones before it.

    Returns:
        None where a parameter is continuous, or there are more than MAX_STATES combinations.
    """
    asked: dict[str, list[tuple[Value, ...]]] = {}
    last_use: dict[str, str] = {}
    for name, parameter in parameters.items():
        for other, conditions in parameter.when.items():
            asked.setdefault(other, []).append(conditions)
            last_use[other] = name
    states: dict[State, int] = {(): 1}
    for name, parameter in parameters.items():
        count = parameter.count()
        if count is None:
            return None
        groups = _groups(parameter, count, asked.get(name, ()))
        after: dict[State, int] = {}
        for state, ways in states.items():
            kept = tuple((n, v) for n, v in state if last_use[n] != name)
            if not holds(name, dict(state)):
                after[kept] = after.get(kept, 0) + ways
                continue
            for value, size in groups:
                found = kept if name not in asked else (*kept, (name, value))
                after[found] = after.get(found, 0) + ways * size
        if len(after) > MAX_STATES:
            return None
        states = after
    return sum(states.values())


def _groups(
    parameter: Countable, count: int, asked: Sequence[tuple[Value, ...]]
) -> list[tuple[Value, int]]:
    """Return a value for each group that conditions take for the same, and the group's size."""
    groups: dict[tuple[bool, ...], tuple[Value, int]] = {}
    for start, end in _segments(parameter, count, asked):
        value = parameter.point(start)
        key = tuple(meets(value, conditions) for conditions in asked)
        first, size = groups.get(key, (value, 0))
        groups[key] = (first, size + end - start)
    return list(groups.values())


def _segments(
    parameter: Countable, count: int, asked: Iterable[tuple[Value, ...]]
) -> list[tuple[int, int]]:
    """Cut the places 0 … count into pieces in which no condition changes its answer."""
    low, high = parameter.point(0), parameter.point(count - 1)
    if hasattr(parameter, "values") or isinstance(low, str) or isinstance(high, str):
        return [(i, i + 1) for i in range(count)]
    cuts = {0, count}
    for number in (n for conditions in asked for n in thresholds(conditions)):
        step = (high - low) / max(count - 1, 1)
        if step and low <= number <= high:
            # One place more on either side, for the rounding of steps.
            near = math.floor((number - low) / step)
            cuts |= {min(max(near + i, 0), count) for i in (-1, 0, 1, 2, 3)}
    edges = sorted(cuts)
    return list(itertools.pairwise(edges))
