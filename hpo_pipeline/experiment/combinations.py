"""How many configurations a space has, at a cost that does not grow with the width of a range."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

Value = bool | int | float | str
State = tuple[tuple[str, Value], ...]
"""The values of parameters that are active and that a later condition asks for."""

MAX_STATES = 10_000


class Countable(Protocol):
    """A parameter: how many values it has, and what it depends on."""

    @property
    def when(self) -> Mapping[str, tuple[Value, ...]]:
        """The values of earlier parameters under which it counts."""

    def count(self) -> int | None:
        """Return the number of values, or None where the range is continuous."""


def combinations(
    parameters: Mapping[str, Countable], holds: Callable[[str, Mapping[str, Value]], bool]
) -> int | None:
    """Return the number of configurations, those that differ in active parameters only.

    The parameters are visited in their order, counting the ways to reach each combination of the
    values that conditions name; all other values are counted together.

    Args:
        holds: says whether a parameter is active, given the active ones before it.

    Returns:
        None where a parameter is continuous, or there are more than MAX_STATES combinations.
    """
    named: dict[str, dict[str, Value]] = {}
    last_use: dict[str, str] = {}
    for name, parameter in parameters.items():
        for other, values in parameter.when.items():
            named.setdefault(other, {}).update({f"{type(v).__name__} {v}": v for v in values})
            last_use[other] = name
    states: dict[State, int] = {(): 1}
    for name, parameter in parameters.items():
        count = parameter.count()
        if count is None:
            return None
        after: dict[State, int] = {}
        for state, ways in states.items():
            kept = tuple((n, v) for n, v in state if last_use[n] != name)
            listed = [*named.get(name, {}).values()] if holds(name, dict(state)) else []
            others = count - len(listed) if holds(name, dict(state)) else 1
            for value in listed:
                found = (*kept, (name, value))
                after[found] = after.get(found, 0) + ways
            if others > 0:
                after[kept] = after.get(kept, 0) + ways * others
        if len(after) > MAX_STATES:
            return None
        states = after
    return sum(states.values())
