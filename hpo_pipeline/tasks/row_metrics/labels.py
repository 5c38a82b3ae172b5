"""Several labels a row, on samples of the rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hpo_pipeline.tasks.row_metrics.ranks import mean_area, roc_auc
from hpo_pipeline.tasks.row_metrics.sums import ratio

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]


def of_labels(columns: Mapping[str, Array], counts: Array, known: int) -> dict[str, Array]:
    """Return the metrics of several labels a row, as scikit-learn computes them.

    Args:
        columns: truth and answer (rows x labels, 0 or 1); ranks of the scores of the labels that
            the data know, where they are known; the loss of each row.
        counts: how often each row is in each sample (samples x rows).
        known: how many labels the data have; answers from there on are wrong anyway.
    """
    truth, answer = (columns[name].astype(float) for name in ("truth", "answer"))
    weights = counts.astype(float)
    size = weights.sum(axis=1)
    both, got, has = weights @ (truth * answer), weights @ answer, weights @ truth
    wrong = truth != answer
    found = {
        "loss": weights @ columns["loss"] / size,
        "exact_match": weights @ (~wrong).all(axis=1) / size,
        "hamming_loss": weights @ wrong.mean(axis=1) / size,
    }
    total = _scores(*(each.sum(axis=1) for each in (both, got, has)))
    each = _scores(*(sums[:, :known] for sums in (both, got, has)))
    rows = _scores(*(each.sum(axis=1) for each in (truth * answer, answer, truth)))
    shares = ratio(has[:, :known], has[:, :known].sum(axis=1, keepdims=True))
    for name in total:
        found[f"{name}_micro"] = total[name]
        found[f"{name}_macro"] = each[name].mean(axis=1)
        found[f"{name}_weighted"] = (each[name] * shares).sum(axis=1)
        found[f"{name}_samples"] = weights @ rows[name] / size
    if (ranks := columns.get("ranks")) is not None:
        areas = [roc_auc(ranks[:, i], truth[:, i] > 0, counts) for i in range(known)]
        found["roc_auc"] = mean_area(areas)
    return found


def _scores(both: Array, got: Array, has: Array) -> dict[str, Array]:
    return {
        "precision": ratio(both, got),
        "recall": ratio(both, has),
        "f1": ratio(2 * both, got + has),
    }
