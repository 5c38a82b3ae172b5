"""Lines of a comparison: a cell for each run, and which of them is the best; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hpo_pipeline.experiment.verdict import Interval
from hpo_pipeline.reports import formatting

Cell = str | float | int | None


@dataclass(frozen=True)
class Row:
    """One line: a cell for each run, as it is shown and as machines read it.

    `best` is the place of the best value, where one is better than all others.
    """

    name: str
    shown: tuple[str, ...]
    values: tuple[Cell, ...]
    best: int | None = None

    @property
    def differs(self) -> bool:
        """Whether not all runs have the same here."""
        return len(set(self.shown)) > 1


@dataclass(frozen=True)
class Table:
    """Lines that belong together."""

    title: str
    rows: tuple[Row, ...]


def row_of(
    name: str, values: Sequence[Cell], intervals: Sequence[Interval | None] | None = None
) -> Row:
    """Return a line; a number that was sampled is shown with its interval."""
    shown = []
    for value, interval in zip(values, intervals or [None] * len(values), strict=True):
        if isinstance(value, float):
            shown.append(formatting.sampled(value, interval))
        else:
            shown.append("" if value is None else str(value))
    return Row(name, tuple(shown), tuple(values))


def best_place(
    values: Sequence[float | None], intervals: Sequence[Interval | None], sign: int | None
) -> int | None:
    """Return the place of the best value; none where its interval reaches into another's."""
    known = [i for i, value in enumerate(values) if value is not None]
    if sign is None or len(known) < 2:
        return None
    spans = {i: _signed_span(values[i], intervals[i], sign) for i in known}
    best = max(known, key=lambda i: spans[i][1])
    return best if all(spans[best][0] > spans[i][2] for i in known if i != best) else None


def _signed_span(
    value: float | None, interval: Interval | None, sign: int
) -> tuple[float, float, float]:
    """Return the least, the middle and the most that a value may be, signed so more is better."""
    middle = sign * (value or 0.0)
    if interval is None:
        return middle, middle, middle
    low, high = interval[0], math.inf if interval[1] is None else interval[1]
    least, most = sorted((sign * low, sign * high))
    return least, middle, most
