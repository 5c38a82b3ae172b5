"""Metrics over predicted tokens, summed up batch by batch.

The outputs of a language model (rows x tokens x vocabulary) are far too large to be gathered for
all rows, so each batch is reduced to three numbers at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from hpo_pipeline.tasks.inputs.token_cutting import IGNORED

LOGITS_OF_A_BATCH = 2**25
"""Outputs that an evaluation batch may have, unless a single row has more."""
_LOGITS_AT_ONCE = 2**22


@dataclass
class TokenSums:
    """Sums over predicted tokens.

    Attributes:
        nats: the negative log-likelihood.
        tokens: how many were predicted.
        right: how many of them were the likeliest.
        of_rows: the same of each row, in the order in which they were added.
    """

    nats: float = 0.0
    tokens: int = 0
    right: int = 0
    of_rows: list[tuple[float, int, int]] = field(default_factory=list)

    def add(self, logits: Any, labels: Any) -> None:
        """Add a batch.

        Args:
            logits: tensor (rows x tokens x vocabulary), or of the predicted tokens alone, in their
                order (tokens x vocabulary).
            labels: tensor (rows x tokens) of the right ids, IGNORED where nothing is predicted;
                each belongs to the logits at its own place.
        """
        import torch

        # Sums in double precision, where the device has it.
        precision = torch.float32 if logits.device.type == "mps" else torch.float64
        rows, places = (labels != IGNORED).nonzero(as_tuple=True)
        at_once = max(1, _LOGITS_AT_ONCE // logits.shape[-1])
        nats = torch.zeros(len(labels), dtype=precision, device=logits.device)
        right = torch.zeros(len(labels), dtype=torch.long, device=logits.device)
        for part in range(0, len(rows), at_once):
            where = rows[part : part + at_once], places[part : part + at_once]
            picked = logits[where] if logits.dim() > 2 else logits[part : part + at_once]
            scores, truth = picked.to(precision), labels[where]
            chosen = scores.gather(-1, truth[:, None])[:, 0]
            nats.index_add_(0, where[0], scores.logsumexp(-1) - chosen)
            right.index_add_(0, where[0], (scores.argmax(-1) == truth).long())
        tokens = (labels != IGNORED).sum(-1)
        self.nats += float(nats.sum())
        self.right += int(right.sum())
        self.tokens += len(rows)
        self.of_rows += zip(nats.tolist(), tokens.tolist(), right.tolist(), strict=True)

    @property
    def loss(self) -> float:
        """The mean negative log-likelihood of a token."""
        return self.nats / self.tokens if self.tokens else math.nan

    @property
    def metrics(self) -> dict[str, float]:
        """Loss, perplexity and accuracy."""
        tokens = max(1, self.tokens)
        perplexity = math.exp(min(self.loss, 700.0))  # above, no number is large enough
        right = self.right / tokens
        return {"loss": self.loss, "perplexity": perplexity, "token_accuracy": right}


def bits_per_byte(nats: float, size: int, unknown: int) -> float:
    """Return the bits that a byte of text costs, which compares models of different tokenizers.

    Args:
        size: bytes of the text in UTF-8.
        unknown: bytes behind the token for unknown words. That token is cheap to predict and
            does not tell the text, so each of these bytes costs its full 8 bits besides.
    """
    return (nats / math.log(2) + 8 * unknown) / max(1, size)


def rows_at_once(own: int, tokens: int, vocabulary: int) -> int:
    """Return how many rows an evaluation batch may have: `own`, or fewer where memory asks it."""
    return max(1, min(own, LOGITS_OF_A_BATCH // max(1, tokens * vocabulary)))
