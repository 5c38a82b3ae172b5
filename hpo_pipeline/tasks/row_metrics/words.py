"""Tags of words, and the entities that they mark, on samples of the rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hpo_pipeline.tasks.row_metrics.sums import ratio

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

MAX_COUNTS = 10_000_000
"""Entries (rows x tags or types) that are kept for samples."""


def of_words(columns: Mapping[str, Array], counts: Array) -> dict[str, Array]:
    """Return the metrics of tagged words: of entities, or of tags that mark none.

    Args:
        columns: of each row `words` and `right_words`, the `tokens` of the loss and their `nats`;
            and `right`, `answered` and `wanted` by type of entity (rows x types), or by tag with
            the name `tags_right` and so on.
        counts: how often each row is in each sample (samples x rows).
    """
    import numpy as np

    weights = counts.astype(float)
    found = {
        "loss": weights @ columns["nats"] / (weights @ columns["tokens"]),
        "accuracy": weights @ columns["right_words"] / (weights @ columns["words"]),
    }
    names = ("right", "answered", "wanted")
    if "right" in columns:
        right, answered, wanted = (weights @ columns[name] for name in names)
        all_right, all_answered, all_wanted = (n.sum(axis=1) for n in (right, answered, wanted))
        found["precision"] = ratio(all_right, all_answered)
        found["recall"] = ratio(all_right, all_wanted)
        found["f1"] = ratio(2 * all_right, all_answered + all_wanted)
        types = np.maximum((answered + wanted > 0).sum(axis=1), 1)
        found["f1_macro"] = ratio(2 * right, answered + wanted).sum(axis=1) / types
    elif "tags_right" in columns:
        right, answered, wanted = (weights @ columns[f"tags_{name}"] for name in names)
        f1 = ratio(2 * right, answered + wanted)
        found["f1_macro"] = f1.mean(axis=1)
        shares = ratio(wanted, wanted.sum(axis=1, keepdims=True))
        found["f1_weighted"] = (f1 * shares).sum(axis=1)
    return found
