"""Metrics of generated texts: ROUGE, BLEU and chrF by sacrebleu, and exact matches.

ROUGE is that of the package rouge-score without stemming, and counts letters of all scripts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

_WORD = re.compile(r"[^\W_]+")


def generation_metrics(predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Return the metrics of texts; ROUGE is a mean over rows, BLEU and chrF are of all of them."""
    import numpy as np
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    means = {n: float(np.mean(v or [0.0])) for n, v in row_scores(predictions, references).items()}
    return {
        "rouge1": means["rouge1"],
        "rouge2": means["rouge2"],
        "rougeL": means["rougeL"],
        "bleu": float(BLEU(force=True).corpus_score(list(predictions), [list(references)]).score),
        "chrf": float(CHRF().corpus_score(list(predictions), [list(references)]).score),
        "exact_match": means["exact_match"],
    }


def row_scores(predictions: Sequence[str], references: Sequence[str]) -> dict[str, list[float]]:
    """Return the metrics that are means over rows, a number for each row."""
    pairs = list(zip(predictions, references, strict=True))
    words = [(_words(one), _words(other)) for one, other in pairs]
    return {
        "rouge1": [_ngram_f1(a, b, 1) for a, b in words],
        "rouge2": [_ngram_f1(a, b, 2) for a, b in words],
        "rougeL": [_sequence_f1(a, b) for a, b in words],
        "exact_match": [float(one.strip() == other.strip()) for one, other in pairs],
    }


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _ngram_f1(found: Sequence[str], wanted: Sequence[str], size: int) -> float:
    one, other = (
        Counter(tuple(words[i : i + size]) for i in range(len(words) - size + 1))
        for words in (found, wanted)
    )
    return _f1((one & other).total(), one.total(), other.total())


def _sequence_f1(found: Sequence[str], wanted: Sequence[str]) -> float:
    """Return the F1 of the longest common subsequence."""
    above = [0] * (len(wanted) + 1)
    for word in found:
        row = [0]
        for i, other in enumerate(wanted):
            row.append(above[i] + 1 if word == other else max(above[i + 1], row[i]))
        above = row
    return _f1(above[-1], len(found), len(wanted))


def _f1(common: int, found: int, wanted: int) -> float:
    return 2 * common / (found + wanted) if common else 0.0
