"""The rows of a training on a share of them: nested, and with every label that there is.

All trials of a search take the same rows, and a larger share has all rows of a smaller one, as in
FABOLAS (Klein et al., AISTATS 2017) and in scikit-learn's halving searches, whose samples are not
nested. Each class has its part in every share.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    classes = _column(rows, "label") if form == "class" else None
    order = nested_order(len(rows), seed, classes=classes, labels=_labels(rows, form))
    places = np.sort(order[: rows_in(len(rows), share)]).tolist()
    return rows.select(places) if isinstance(rows, Dataset) else [rows[i] for i in places]


def nested_order(
    count: int,
    seed: int,
    *,
    classes: Sequence[int] | None = None,
    labels: Sequence[set[int]] = (),
) -> NDArray[np.int64]:
    """Return the numbers of rows so that its beginnings are alike.

    Args:
        classes: the one of each row; each has its part in any beginning. None without classes.
        labels: those of each row, where it may have several: as many rows come first as it takes
            to have each label once.
    """
    order = np.random.default_rng(seed).permutation(count)
    if classes is None:
        return _with_first(order, _newcomers(order, labels))
    codes = np.unique(np.asarray(classes), return_inverse=True)[1]
    order = order[np.argsort(_places(codes[order]), kind="stable")]
    return _with_first(order, np.sort(np.unique(codes[order], return_index=True)[1]))


def _places(codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return where each row stands among those of its class, from 0 to 1."""
    sizes = np.bincount(codes)
    by_class = np.argsort(codes, kind="stable")
    ranks = np.empty(len(codes))
    ranks[by_class] = np.arange(len(codes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    places: NDArray[np.float64] = (ranks + 0.5) / sizes[codes]
    return places


def _newcomers(order: NDArray[np.int64], labels: Sequence[set[int]]) -> NDArray[np.int64]:
    """Return the places in the order at which a label is met for the first time."""
    missing, found = set[int]().union(*labels), []
    for place, row in enumerate(order.tolist() if missing else ()):
        if not missing:
            break
        if not missing.isdisjoint(labels[row]):
            missing -= labels[row]
            found.append(place)
    return np.array(found, dtype=np.int64)


def _with_first(order: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([order[places], np.delete(order, places)])


def _labels(rows: Any, form: LabelForm | None) -> list[set[int]]:
    if form == "classes":  # a 0 or 1 for each
        return [set(np.flatnonzero(row).tolist()) for row in _column(rows, "label")]
    if form == "tags":
        return [set(tags) for tags in _column(rows, "tags")]
    return []


def _column(rows: Any, name: str) -> Any:
    if isinstance(rows, Dataset):
        return rows.with_format("numpy")[name][:]
    return [row[name] for row in rows]
