"""One label a row, on samples of the rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hpo_pipeline.tasks.row_metrics.ranks import mean_area, roc_auc
from hpo_pipeline.tasks.row_metrics.sums import one_hot, ratio

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]


def of_classes(columns: Mapping[str, Array], counts: Array, known: int) -> dict[str, Array]:
    """Return the metrics of one label a row, as scikit-learn computes them.

    All but the area under the ROC curve, which needs the ranks of the scores, follow from three
    counts for each label: rows that have it, rows that got it as their answer, and rows of both.

    Args:
        columns: label, answer and loss of each row; ranks of its scores, where they are known.
        counts: how often each row is in each sample (samples x rows).
        known: how many labels the data have; answers from there on are wrong anyway.
    """
    import numpy as np

    label, answer = (columns[n].astype(int) for n in ("label", "answer"))
    width = max(int(answer.max(initial=0)), int(label.max(initial=0)), known - 1) + 1
    weights = counts.astype(float)
    has = weights @ one_hot(label, width)
    got = weights @ one_hot(answer, width)
    both = weights @ one_hot(np.where(label == answer, label, width), width + 1)
    both = both[:, :width]
    size, right = weights.sum(axis=1), both.sum(axis=1)
    found = {"accuracy": right / size, "loss": weights @ columns["loss"] / size}
    recalls = np.where(has > 0, both / has, np.nan)
    found["balanced_accuracy"] = np.nanmean(recalls, axis=1)
    spread = (size**2 - (got**2).sum(axis=1)) * (size**2 - (has**2).sum(axis=1))
    mcc = (right * size - (got * has).sum(axis=1)) / np.sqrt(spread)
    found["matthews_corrcoef"] = np.where(spread > 0, mcc, 0.0)
    own = slice(0, known)
    each = {
        "precision": ratio(both, got)[:, own],
        "recall": ratio(both, has)[:, own],
        "f1": ratio(2 * both, has + got)[:, own],
    }
    shares = ratio(has[:, own], has[:, own].sum(axis=1, keepdims=True))
    for name, values in each.items():
        found[f"{name}_macro"] = values.mean(axis=1)
        found[f"{name}_weighted"] = (values * shares).sum(axis=1)
        found[name] = values[:, 1] if known == 2 else found[f"{name}_macro"]
    if (ranks := columns.get("ranks")) is not None:
        found["roc_auc"] = _roc_auc(ranks, label, counts)
    return found


def _roc_auc(ranks: Array, label: Array, counts: Array) -> Array:
    """Return the areas: of the second of two labels, or their mean over those that occur."""
    if ranks.ndim == 1:
        return roc_auc(ranks, label == 1, counts)
    return mean_area([roc_auc(ranks[:, i], label == i, counts) for i in range(ranks.shape[1])])
