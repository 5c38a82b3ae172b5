"""Training rows that are other ones in each epoch, by the seed, the epoch and their number alone.

So a training that resumes in the middle of an epoch sees what it would have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import TrainerCallback

from hpo_pipeline.tasks.kind import Row

TURN = "turn"
"""The seed of what is random about a row in an epoch, as a column."""


@dataclass
class EpochRows:
    """Rows, each with its turn: the seed of the trial, the epoch, and its number."""

    rows: Sequence[Row]
    seed: int
    epoch: int = 0

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def __getitem__(self, i: int) -> Row:
        """Return a row with its turn."""
        return {**self.rows[i], TURN: (self.seed, self.epoch, i)}


class EpochCallback(TrainerCallback):
    """Tells a set of rows which epoch begins."""

    def __init__(self, rows: Any) -> None:
        self._rows = rows

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Set the epoch; a training that resumes is inside one."""
        self._rows.epoch = int(state.epoch or 0)
