"""Whether a constraint is met by metrics that are known within intervals, as measured times are."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from itertools import product

from hpo_pipeline.experiment.formula import Constraint
from hpo_pipeline.experiment.metrics import Metrics

Interval = tuple[float, float | None]
"""Low and high; without a high one nothing is known but that the value is not below the low one."""
Intervals = Mapping[str, Interval]


class Verdict(StrEnum):
    """What is known of a constraint."""

    MET = "met"
    UNDECIDED = "undecided"
    MISSED = "missed"


def verdict(constraint: str, metrics: Metrics, intervals: Intervals) -> Verdict:
    """Judge a constraint at the ends of the intervals of its metrics.

    It is met where it holds at all of them, missed where it holds at none, else undecided. So no
    formula is misjudged that rises or falls with each of its metrics.
    """
    found = Constraint(constraint)
    ends = {n: _ends(intervals[n]) for n in sorted(found.names) if n in intervals and n in metrics}
    corners = (dict(zip(ends, values, strict=True)) for values in product(*ends.values()))
    holds = {found.violation({**metrics, **corner}) <= 0 for corner in corners}
    if len(holds) > 1:
        return Verdict.UNDECIDED
    return Verdict.MET if holds.pop() else Verdict.MISSED


def _ends(interval: Interval) -> tuple[float, ...]:
    low, high = interval
    # A value without a bound is one that no limit allows: comparisons refuse what is not finite.
    return (low, float("inf") if high is None else high)
