"""How often a training evaluates, as the fields of its TrainingArguments say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

LOGGING_STEPS = 500
"""The default of transformers, which is that of `eval_steps`, too."""


def evaluations(
    training: Mapping[str, Any], epochs: float, *, steps: float | None = None
) -> int | None:
    """Return how often a training evaluates; its last step counts, whatever the fields say.

    Args:
        training: fields of TrainingArguments.
        steps: that the whole training takes, if that is known.

    Returns:
        None where it evaluates each so many steps, and `steps` is not known.
    """
    if training.get("eval_strategy", "epoch") == "epoch":
        return max(1, math.ceil(epochs))
    every = training.get("eval_steps") or training.get("logging_steps", LOGGING_STEPS)
    if isinstance(every, bool) or not isinstance(every, int | float) or every <= 0:
        return None  # checks/ refuses it
    if every < 1:
        return math.ceil(1 / every - 1e-9)  # it is a share of the training
    return None if steps is None else max(1, math.ceil(steps / every))
