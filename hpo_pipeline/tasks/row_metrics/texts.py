"""Texts that a model wrote, on samples of the rows.

BLEU and chrF of a corpus follow from counts of n-grams, summed over its texts: sacrebleu gives
those of each text, and its own bootstrap sums them likewise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hpo_pipeline.tasks.row_metrics.sums import ratio

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

_BETA = 2
"""Of chrF: how much more recall counts than precision."""


def text_counts(predictions: Sequence[str], references: Sequence[str]) -> dict[str, Array]:
    """Return the counts of each text, by metric (rows x counts)."""
    import numpy as np
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    metrics = {"bleu": BLEU(force=True), "chrf": CHRF()}
    texts, right = list(predictions), [list(references)]
    return {
        name: np.asarray(metric._extract_corpus_statistics(texts, right), dtype=np.int64)
        for name, metric in metrics.items()
    }


def of_texts(columns: Mapping[str, Array], counts: Array) -> dict[str, Array]:
    """Return the metrics of written texts.

    Args:
        columns: the counts of sacrebleu by metric; of each row the negative log-likelihood of the
            target (`nats`) and its `tokens`; the others are metrics of which the mean counts.
        counts: how often each row is in each sample (samples x rows).
    """
    weights = counts.astype(float)
    size = weights.sum(axis=1)
    sums = ("bleu", "chrf", "nats", "tokens")
    found = {n: weights @ column / size for n, column in columns.items() if n not in sums}
    found["loss"] = weights @ columns["nats"] / (weights @ columns["tokens"])
    found["bleu"] = _bleu(weights @ columns["bleu"])
    found["chrf"] = _chrf(weights @ columns["chrf"])
    return found


def _bleu(sums: Array) -> Array:
    import numpy as np
    from sacrebleu.metrics.bleu import BLEU

    order = (sums.shape[1] - 2) // 2
    scores = (
        BLEU.compute_bleu(
            correct=[int(n) for n in row[2 : 2 + order]],
            total=[int(n) for n in row[2 + order :]],
            sys_len=int(row[0]),
            ref_len=int(row[1]),
        ).score
        for row in np.rint(sums)
    )
    return np.fromiter(scores, float, len(sums))


def _chrf(sums: Array) -> Array:
    """Return chrF (Popović, 2015) with the means over those orders that both sides have."""
    import numpy as np

    written, wanted, common = (sums[:, i::3] for i in range(3))
    has_both = (written > 0) & (wanted > 0)
    orders = np.maximum(has_both.sum(axis=1), 1)
    precision, recall = (
        np.where(has_both, ratio(common, side), 0.0).sum(axis=1) / orders
        for side in (written, wanted)
    )
    factor = _BETA**2
    return 100 * ratio((1 + factor) * precision * recall, factor * precision + recall)
