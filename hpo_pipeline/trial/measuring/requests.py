"""The requests that a model is timed on: rows of the data in random order, or of given lengths."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hpo_pipeline.tasks.kind import Row

TOKENS = "input_ids"


def requests(
    rows: Sequence[Row],
    *,
    count: int,
    size: int,
    lengths: tuple[int, int] | None,
    rng: random.Random,
) -> list[list[Row]]:
    """Return `count` requests of `size` rows each.

    Each row comes once before one comes twice, so that few requests are as long as many.

    Args:
        lengths: the shortest and the longest; the rows then get any length between them.
    """
    total = count * size
    if len(rows) > total:
        # Rows are sorted by length: the middles of equal parts cover all lengths alike.
        order = rng.sample([(2 * i + 1) * len(rows) // (2 * total) for i in range(total)], total)
    else:
        order = []
        while len(order) < total:
            order += rng.sample(range(len(rows)), len(rows))
    picked = [rows[i] for i in order[:total]]
    if lengths is not None:
        picked = [stretched(row, rng.randint(*lengths)) for row in picked]
    return [picked[i : i + size] for i in range(0, len(picked), size)]


def stretched(row: Row, length: int) -> Row:
    """Return a row of tokens with another length: repeated, or cut."""
    tokens = len(row[TOKENS])
    times = -(-length // tokens)
    return {
        name: (list(value) * times)[:length] if _is_of_tokens(value, tokens) else value
        for name, value in row.items()
    }


def _is_of_tokens(value: object, tokens: int) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, str) and len(value) == tokens
