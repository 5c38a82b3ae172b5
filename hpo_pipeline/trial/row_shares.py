"""The rows of a training on a share of them: nested, and with every label that there is.

All trials of a search take the same rows, and a larger share has all rows of a smaller one, as in
FABOLAS (Klein et al., AISTATS 2017) and in scikit-learn's halving searches, whose samples are not
nested. Each class has its part in every share.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from hpo_pipeline.experiment.stopping import rows_in
from hpo_pipeline.tasks.kind import LabelForm


def share_of(rows: Any, share: float, form: LabelForm | None, seed: int) -> Any:
    """Return a share of prepared training rows, in their order.

    Args:
        form: what their labels are.
        seed: which rows come first.
    """
    order = nested_order(_classes(rows, form), _labels(rows, form), len(rows), seed)
    places = np.sort(order[: rows_in(len(rows), share)]).tolist()
    return rows.select(places) if isinstance(rows, Dataset) else [rows[i] for i in places]


def nested_order(
    classes: Sequence[Hashable] | None, labels: Sequence[set[int]], count: int, seed: int
) -> NDArray[np.int64]:
    """Return the numbers of rows so that its beginnings are alike.

    Args:
        classes: of each row; each class has its part in any beginning. None without classes.
        labels: of each row: as many rows come first as it takes to have each label once.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(count)
    if classes is not None:
        seen: dict[Hashable, int] = {}
        sizes: dict[Hashable, int] = {}
        for name in classes:
            sizes[name] = sizes.get(name, 0) + 1
        place = np.zeros(count)
        for row in order.tolist():
            name = classes[row]
            place[row] = (seen.get(name, 0) + 0.5) / sizes[name]
            seen[name] = seen.get(name, 0) + 1
        order = order[np.argsort(place[order], kind="stable")]
    known: set[int] = set()
    first = []
    for i, row in enumerate(order.tolist()):
        if not labels[row] <= known:
            known |= labels[row]
            first.append(i)
    return np.concatenate([order[first], np.delete(order, first)])


def _classes(rows: Any, form: LabelForm | None) -> Sequence[Hashable] | None:
    return _column(rows, "label") if form == "class" else None


def _labels(rows: Any, form: LabelForm | None) -> list[set[int]]:
    if form == "class":
        return [{label} for label in _column(rows, "label")]
    if form == "classes":  # a 0 or 1 for each
        return [set(np.flatnonzero(row).tolist()) for row in _column(rows, "label")]
    if form == "tags":
        return [set(tags) for tags in _column(rows, "tags")]
    return [set()] * len(rows)


def _column(rows: Any, name: str) -> list[Any]:
    return list(rows[name]) if isinstance(rows, Dataset) else [row[name] for row in rows]
