"""Predicted tokens, on samples of the rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]


def of_tokens(columns: Mapping[str, Array], counts: Array) -> dict[str, Array]:
    """Return the metrics of a language model.

    Args:
        columns: of each row the negative log-likelihood (`nats`), how many `tokens` were predicted
            and how many of them `right`; its `bytes`, and those that are `unknown`, where known.
        counts: how often each row is in each sample (samples x rows).
    """
    import numpy as np

    weights = counts.astype(float)
    nats, tokens = weights @ columns["nats"], weights @ columns["tokens"]
    loss = nats / tokens
    found = {
        "loss": loss,
        "perplexity": np.exp(np.minimum(loss, 700.0)),
        "token_accuracy": weights @ columns["right"] / tokens,
    }
    if "bytes" in columns:
        size = np.maximum(1, weights @ columns["bytes"])
        found["bits_per_byte"] = (nats / math.log(2) + 8 * (weights @ columns["unknown"])) / size
    return found
