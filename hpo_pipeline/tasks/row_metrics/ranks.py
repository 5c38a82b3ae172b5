"""Metrics of ranks on samples of rows, all samples at once.

A row that is drawn several times is tied with itself, so ranks of a sample are those of the rows
with their counts as weights; no row has to be repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

MAX_RANKS = 5_000_000
"""Entries (rows x labels) of which ranks are kept for samples."""


def dense_ranks(scores: Array) -> Array:
    """Return the place of each score among the different ones (rows, or rows x labels)."""
    import numpy as np

    if scores.ndim == 1:
        return np.unique(scores, return_inverse=True)[1].astype(np.int32)
    columns = [dense_ranks(scores[:, i]) for i in range(scores.shape[1])]
    return np.stack(columns, axis=1)


def roc_auc(ranks: Array, is_positive: Array, counts: Array) -> Array:
    """Return the area under the ROC curve of each sample; nan where it has one class only.

    It is the share of pairs of a positive and a negative row in the right order, ties counting half
    (Hanley and McNeil, 1982).

    Args:
        ranks: dense, of the rows.
        is_positive: whether each row has the label.
        counts: how often each row is in each sample (samples x rows).
    """
    import numpy as np

    weights = counts.astype(float)
    positive, negative = (_by_rank(weights * kept, ranks) for kept in (is_positive, ~is_positive))
    below = negative.cumsum(axis=1) - negative / 2
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    right = (positive * below).sum(axis=1)
    found: Array = np.where(pairs > 0, right / np.where(pairs > 0, pairs, 1), np.nan)
    return found


def mean_area(areas: Sequence[Array]) -> Array:
    """Return the mean of the areas that are defined, sample by sample; nan where none is."""
    import numpy as np

    known = np.isfinite(areas)
    count = known.sum(axis=0)
    total = np.where(known, areas, 0.0).sum(axis=0)
    found: Array = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return found


def spearman(one: Array, other: Array, counts: Array) -> Array:
    """Return the correlation of ranks of each sample; 0 where all ranks of a side are equal.

    Args:
        one, other: dense ranks of the rows.
        counts: how often each row is in each sample (samples x rows).
    """
    import numpy as np

    weights = counts.astype(float)
    size = weights.sum(axis=1, keepdims=True)
    away = []
    for ranks in (one, other):
        groups = _by_rank(weights, ranks)
        middle = groups.cumsum(axis=1) - groups / 2
        away.append(middle[:, ranks] - size / 2)
    common = (weights * away[0] * away[1]).sum(axis=1)
    spread = np.sqrt(np.prod([(weights * each**2).sum(axis=1) for each in away], axis=0))
    found: Array = np.where(spread > 0, common / np.where(spread > 0, spread, 1), 0.0)
    return found


def _by_rank(weights: Array, ranks: Array) -> Array:
    """Return the weight of each rank in each sample (samples x ranks)."""
    from hpo_pipeline.tasks.row_metrics.sums import one_hot

    found: Array = weights @ one_hot(ranks, int(ranks.max(initial=0)) + 1)
    return found
