"""The order of training rows that are padded: those of like length share a batch.

Rows are shuffled, cut into pools, and sorted within each; then all batches are shuffled. So batches
are made anew in each epoch and come in no order of length, where transformers' `group_by_length`
goes from long to short, over the whole epoch where rows are few. The order follows from seed and
epoch alone: a training that resumes within an epoch goes on in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import Trainer

POOL = 50
"""Batches of a pool, at most: with more of them, padding hardly shrinks any further."""
LEAST_POOLS = 4
"""So few rows have only a few companions of their length, and meet others in each epoch."""
CHOICE = "train_sampling_strategy"
"""The training argument by which the user chooses an order."""

Index = NDArray[np.int64]


def length_order(lengths: Index, batch: int, rng: np.random.Generator) -> Index:
    """Return the numbers of all rows, to be cut into batches of `batch`; the rest comes last."""
    order: Index = rng.permutation(len(lengths))
    full = len(order) // batch
    if full == 0:
        return order
    pools = min(full, max(LEAST_POOLS, -(-full // POOL)))
    ends = [full * (i + 1) // pools * batch for i in range(pools)]
    parts = np.split(order, ends[:-1])
    parts = [part[np.argsort(lengths[part], kind="stable")] for part in parts]
    # The batch that is not full is of any length, like the others.
    rest = len(order) - full * batch
    start = int(rng.integers(len(parts[-1]) // batch + 1)) * batch
    short = parts[-1][start : start + rest]
    parts[-1] = np.delete(parts[-1], slice(start, start + rest))
    batches = np.concatenate(parts).reshape(full, batch)
    return np.concatenate([rng.permutation(batches).ravel(), short])


class LengthOrdered(torch.utils.data.Dataset[Any]):
    """Rows in the order of an epoch, which the Trainer says (`set_epoch`) and reads one by one."""

    def __init__(self, rows: Any, lengths: Sequence[int], *, batch: int, seed: int) -> None:
        self.rows = rows
        self._lengths: Index = np.asarray(lengths, dtype=np.int64)
        self._batch = batch
        self._seed = seed
        # Shared with the processes that load rows, which may live longer than an epoch.
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]
        self._order: tuple[int, Index] | None = None

    def set_epoch(self, epoch: int) -> None:
        """Take the order of an epoch, counted from 0."""
        self._epoch.fill_(epoch)

    def order(self) -> Index:
        """Return the numbers of the rows in the order of the epoch."""
        epoch = int(self._epoch)
        if self._order is None or self._order[0] != epoch:
            rng = np.random.default_rng([self._seed, epoch])
            self._order = epoch, length_order(self._lengths, self._batch, rng)
        return self._order[1]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._lengths)

    def __getitem__(self, place: int) -> Any:
        """Return the row at a place of the order."""
        return self.rows[int(self.order()[place])]

    def __getitems__(self, places: Sequence[int]) -> list[Any]:
        """Return the rows at several places, read at once where the rows can do that."""
        numbers = self.order()[list(places)].tolist()
        if hasattr(self.rows, "__getitems__"):
            return list(self.rows.__getitems__(numbers))
        return [self.rows[number] for number in numbers]


def order_by_length(trainer: Trainer, lengths: Sequence[int]) -> None:
    """Have a Trainer take its training rows, whose lengths these are, in this order."""
    arguments = trainer.args
    trainer.train_dataset = LengthOrdered(
        trainer.train_dataset,
        lengths,
        batch=arguments.train_batch_size,
        seed=arguments.seed if arguments.data_seed is None else arguments.data_seed,
    )
    setattr(arguments, CHOICE, "sequential")
