"""Which values arguments and config fields can have at all, where transformers does not look.

With any other value every trial would fail, diverge at once, or train nothing; it is refused
before the first one starts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from hpo_pipeline.experiment.space import Value


@dataclass(frozen=True)
class Range:
    """From `low` to `high`; `above` says that `low` itself is out. `also` is allowed besides."""

    low: float
    high: float | None = None
    above: bool = False
    below: bool = False
    also: float | None = None

    def holds(self, value: float) -> bool:
        """Return whether a value is in the range."""
        if value == self.also:
            return True
        is_low = value <= self.low if self.above else value < self.low
        if self.high is None:
            return not is_low
        return not (is_low or (value >= self.high if self.below else value > self.high))

    def __str__(self) -> str:
        low = f"above {self.low:g}" if self.above else f"at least {self.low:g}"
        if self.high is None:
            return low
        return f"{low} and {'below' if self.below else 'at most'} {self.high:g}"


_POSITIVE, _COUNT, _FROM_0 = Range(0, above=True), Range(1), Range(0)
_SHARE = Range(0, 1)
ARGUMENTS = {
    **dict.fromkeys(("learning_rate", "num_train_epochs", "eval_steps"), _POSITIVE),
    **dict.fromkeys(("per_device_train_batch_size", "per_device_eval_batch_size"), _COUNT),
    **dict.fromkeys(("gradient_accumulation_steps", "eval_accumulation_steps"), _COUNT),
    **dict.fromkeys(("weight_decay", "adam_epsilon", "max_grad_norm", "warmup_steps"), _FROM_0),
    **dict.fromkeys(("neftune_noise_alpha", "dataloader_num_workers"), _FROM_0),
    **dict.fromkeys(("adam_beta1", "adam_beta2"), Range(0, 1, below=True)),
    **dict.fromkeys(("label_smoothing_factor", "warmup_ratio"), _SHARE),
    "max_steps": Range(1, also=-1),
}
"""Fields of TrainingArguments."""

_PROBABILITY = re.compile(r"(dropout|drop_path|drop)(_rate|_prob)?$")
_SIZE = re.compile(
    r"(num_(hidden_)?layers|num_attention_heads|num_channels|hidden_size|image_size|patch_size)$"
)


def range_of(name: str) -> Range | None:
    """Return the range of an argument, or of a config field after `model.`; None if unknown."""
    prefix, _, field = name.rpartition(".")
    if not prefix:
        return ARGUMENTS.get(field)
    if prefix != "model":
        return None
    if _PROBABILITY.search(field):
        return _SHARE
    return _COUNT if _SIZE.search(field) else None


def range_fault(name: str, values: Iterable[object]) -> str | None:
    """Return what is wrong with values of an argument, or None; texts are not its business."""
    allowed = range_of(name)
    if allowed is None:
        return None
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    wrong = [v for v in numbers if not allowed.holds(v)]
    return f"must be {allowed}, got {wrong[0]}" if wrong else None


def type_fault(name: str, value: Value | object) -> str | None:
    """Return that an argument which must be a number is none, or None."""
    if name not in ARGUMENTS or value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return None
    return f"must be a number, got {value!r}"
