"""The configurations of a space that keep its rules: whether one does, and how many there are.

A rule that reads a parameter whose `when` does not hold does not apply. Parameters that rules and
conditions tie together form a group; groups are independent of each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from hpo_pipeline.experiment.combinations import combinations
from hpo_pipeline.experiment.rules import Rules
from hpo_pipeline.experiment.rules.axes import Axis
from hpo_pipeline.experiment.rules.rule import Rule
from hpo_pipeline.experiment.rules.truth import Truth, truth
from hpo_pipeline.experiment.space import ANY_NAMES, Assignments, Space, Value

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]
    Places = dict[str, Floats]
MAX_ROWS = 1_000_000
"""Combinations of a group that are listed at most; beyond, they are estimated."""


class Region:
    """A space with its rules."""

    def __init__(self, space: Space, rules: Rules) -> None:
        self.space = space
        self.axes = {name: Axis(space[name]) for name in space}
        self._rules = [(rule, [n for n in rule.names if n in space]) for rule in rules.each]
        self._fixed = {n: v if isinstance(v, str) else float(v) for n, v in rules.fixed}
        self._listed: dict[tuple[str, ...], Places | None] = {}
        self.memory: dict[Any, Any] = {}
        """What others keep with the region, such as points that took long to find."""

    @cached_property
    def groups(self) -> list[tuple[str, ...]]:
        """The groups of parameters that rules tie together, in the order of the space."""
        read = {name for _, names in self._rules for name in names}
        return [group for group in self._parts if read & set(group)]

    @cached_property
    def free(self) -> list[tuple[str, ...]]:
        """The groups of parameters that no rule reads."""
        return [group for group in self._parts if group not in self.groups]

    @cached_property
    def _parts(self) -> list[tuple[str, ...]]:
        member = {name: name for name in self.space}
        ties = [names for _, names in self._rules]
        ties += [[name, *self.space[name].when] for name in self.space]
        for names in ties:
            found = {member[name] for name in names}
            first = min(found, default="")
            member = {n: first if m in found else m for n, m in member.items()}
        return [
            tuple(n for n in self.space if member[n] == m)
            for m in dict.fromkeys(member[n] for n in self.space)
        ]

    def broken(self, assignments: Assignments) -> list[str]:
        """Return the rules that a configuration breaks; its values must be in the space."""
        import numpy as np

        kept = self.space.active(assignments)
        columns = {n: self.axes[n].column(np.array([self.axes[n].place(kept[n])])) for n in kept}
        return [
            rule.text
            for rule, names in self._rules
            if all(name in kept for name in names)
            and not np.all(truth(rule.tree, {**self._fixed, **columns}).yes)
        ]

    def mask(self, places: Places) -> Bools:
        """Return which rows keep the rules whose parameters are all there."""
        import numpy as np

        size = len(next(iter(places.values())))
        kept = np.ones(size, bool)
        for _, found, applies in self._judged(places):
            kept &= found.yes | ~applies
        return kept

    def gaps(self, places: Places) -> list[Floats]:
        """Return for each rule how far the rows are from keeping it: 0 where they do."""
        import numpy as np

        return [
            np.where(found.yes | ~applies, 0.0, found.to_yes + np.zeros(len(applies)))
            for _, found, applies in self._judged(places)
        ]

    def breaks(self, rule: Rule, places: Places) -> bool:
        """Return whether any row breaks a rule."""
        judged = self._judged(places)
        return any(bool((~t.yes & applies).any()) for r, t, applies in judged if r == rule)

    def _judged(self, places: Places) -> list[tuple[Rule, Truth, Bools]]:
        import numpy as np

        columns = {name: self.axes[name].column(places[name]) for name in places}
        active, size = self.active(places), len(next(iter(places.values())))
        found = []
        for rule, names in self._rules:
            if not all(name in places for name in names):
                continue
            applies = np.ones(size, bool)
            for name in names:
                applies &= active[name]
            found.append((rule, truth(rule.tree, {**self._fixed, **columns}), applies))
        return found

    def active(self, places: Places) -> dict[str, Bools]:
        """Return for each parameter in which rows its conditions hold."""
        import numpy as np

        found: dict[str, Bools] = {}
        for name in self.space:
            if name not in places:
                continue
            holds = np.ones(len(places[name]), bool)
            for other, conditions in self.space[name].when.items():
                holds &= found[other] & self.axes[other].meets(places[other], conditions)
            found[name] = holds
        return found

    def listed(self, group: tuple[str, ...]) -> Places | None:
        """Return all combinations of a group that keep the rules, inactive ones at place 0.

        None where a parameter is continuous, or there are more than MAX_ROWS on the way.
        """
        if group not in self._listed:
            self._listed[group] = self._join(group)
        return self._listed[group]

    def _join(self, group: tuple[str, ...]) -> Places | None:
        import numpy as np

        if any(self.axes[name].count is None for name in group):
            return None
        places: Places = {}
        size = 1
        for name in self._join_order(group):
            count = self.axes[name].count or 1
            added = {**places, name: np.zeros(size)}
            times = np.where(self.active(added)[name], min(count, MAX_ROWS + 1), 1)
            total = float(times.astype(float).sum())
            if total > MAX_ROWS:
                return None
            rows = np.repeat(np.arange(size), times)
            ends = np.cumsum(times)
            fresh = np.arange(int(total)) - np.repeat(ends - times, times)
            places = {n: column[rows] for n, column in places.items()}
            places[name] = fresh.astype(float)
            size = int(total)
            if size:
                kept = self.mask(places)
                places = {n: column[kept] for n, column in places.items()}
                size = int(kept.sum())
        return {name: places[name] for name in group}

    def _join_order(self, group: tuple[str, ...]) -> list[str]:
        """Order a group so that rules are complete early; conditions come before what they rule."""
        order: list[str] = []
        rules = [names for _, names in self._rules if set(names) <= set(group)]
        while len(order) < len(group):
            ready = [
                name
                for name in group
                if name not in order and all(o in order for o in self.space[name].when)
            ]

            def rank(name: str) -> tuple[int, int]:
                missing = (len(set(names) - set(order)) for names in rules if name in names)
                return (min(missing, default=len(group)), self.axes[name].count or 1)

            order.append(min(ready, key=rank))
        return order

    def size(self) -> int | None:
        """Return how many configurations keep the rules; None where that is not counted.

        That is where a parameter is continuous, or a group has too many combinations to list.
        """
        total = self._free_size()
        for group in self.groups if total is not None else ():
            rows = self.listed(group)
            if rows is None or total is None:
                return None
            total *= len(rows[group[0]])
        return total

    def _free_size(self) -> int | None:
        names = [name for group in self.free for name in group]
        return combinations({name: self.space[name] for name in names}, self.space.holds)

    def assignments(self, places: Places, row: int) -> dict[str, Value]:
        """Return a row as a configuration, with its inactive parameters."""
        return {name: self.axes[name].value(places[name][row]) for name in places}

    def places(self, points: Sequence[Mapping[str, Value]], names: Iterable[str]) -> Places:
        """Return configurations as rows."""
        import numpy as np

        return {
            name: np.array([self.axes[name].place(p[name]) for p in points], float)
            for name in names
        }


@lru_cache(maxsize=8)
def _region(space_json: str, rules: Rules) -> Region:
    space = Space.model_validate_json(space_json, context={ANY_NAMES: True})
    return Region(space, rules)


def region_of(space: Space, rules: Rules) -> Region:
    """Return the region of a space, which remembers what it has found before."""
    return _region(space.model_dump_json(), rules)
