"""How long a trial takes on this machine, roughly: from a second of arithmetic, before any trial.

The time of trials that run on a loaded machine is longer.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpo_pipeline.drafting.facts import Facts
from hpo_pipeline.engines.local.hardware import cores, gpus

MOST_AT_ONCE = 4
STARTUP_S = 12.0
"""Imports, loading, measuring and saving of a trial."""
SHARE = 0.35
"""Of the speed of large matrices that training a small transformer reaches on a core."""
GPU_FLOPS = 1e13
STEP_S = 0.02
_SIDE, _TIMES = 64, 200
_TOKENS_A_WORD = 1.35


@dataclass(frozen=True)
class Work:
    """What training on a row costs.

    Attributes:
        tokens: of an input, or patches of an image.
        weights: that are computed with for each of them.
    """

    tokens: float
    weights: float

    @classmethod
    def of(cls, fields: Mapping[str, Any], facts: Facts, layers: int | None) -> Work:
        """Return the work of a plan; a model whose size is not known counts as BERT's base."""
        words = facts.words[0] + facts.target_words[0]
        tokens = min(_TOKENS_A_WORD * words + 2, fields.get("max_length", 128))
        if layers is not None:
            return cls(tokens, layers * 12 * 384**2)
        if facts.shape is not None and fields.get("from_scratch"):
            patch = fields["config"]["patch_size"]
            side = fields["config"].get("image_size", facts.shape[0])
            return cls((side / patch) ** 2, 4 * 12 * 48**2)
        if fields.get("from_scratch"):
            return cls(tokens, 2 * 12 * 128**2 + 128 * fields.get("vocab_size", 2000))
        return cls(tokens, 86e6)


@dataclass(frozen=True)
class Machine:
    """What trials run on here.

    Attributes:
        flops: of large matrices on one core, in operations a second.
    """

    cores: int
    gpus: int
    flops: float
    startup: float = STARTUP_S

    @classmethod
    def here(cls) -> Machine:
        """Look at this machine, and compute for a moment."""
        return cls(cores(), len(gpus()), _flops())

    @property
    def at_once(self) -> int:
        """How many trials run side by side."""
        return self.gpus or min(self.cores, MOST_AT_ONCE)

    def seconds(self, work: Work, rows: int, epochs: int) -> float:
        """Return how long a trial takes."""
        speed = GPU_FLOPS if self.gpus else self.flops * SHARE * self.cores / self.at_once
        operations = 6 * work.weights * work.tokens * rows * epochs
        return self.startup + operations / speed + rows * epochs / 16 * STEP_S

    def __str__(self) -> str:
        """Return what there is, for people."""
        return f"{self.gpus} GPU" if self.gpus else f"{self.cores} cores, no GPU"


def _flops() -> float:
    """Return how many operations a second one core does, at its best of a few tries."""
    # Small enough that the library keeps to one thread, whose own time other processes do not add.
    one = np.ones((_SIDE, _SIDE), dtype=np.float32)
    best = float("inf")
    for _ in range(5):
        start = time.thread_time()
        for _ in range(_TIMES):
            one @ one
        best = min(best, max(time.thread_time() - start, 1e-6))
    return 2 * _SIDE**3 * _TIMES / best
