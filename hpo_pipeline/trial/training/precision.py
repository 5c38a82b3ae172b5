"""The precision of a training: bfloat16 where the hardware computes it and it pays."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from transformers import TrainingArguments

from hpo_pipeline.errors import TrialError

if TYPE_CHECKING:
    from transformers import Trainer

WIDE = 256
"""Hidden size from which on matrix products outweigh the casts that autocast adds to each step.

Measured on a CPU with avx512_bf16, training steps of fp32 over bf16: 0.7 at 48, 0.6 at 128, 1.1 at
256, 1.6 to 1.8 at 384.
"""
_CHOSEN = ("bf16", "fp16")
Arguments = TypeVar("Arguments", bound=TrainingArguments)


def with_precision(
    arguments: Arguments, wanted: str, model: Any, named: Collection[str] = ()
) -> Arguments:
    """Return the arguments of a training with its precision in them.

    Args:
        wanted: `auto`, `fp32`, `bf16` or `fp16`; the first two leave a choice that the arguments
            make.
        model: of which `auto` asks the width.
        named: fields of the arguments that the user has set, or that are searched.

    Raises:
        TrialError: this machine does not compute in the precision that was asked for by name.
    """
    if wanted == "fp32":
        return arguments
    if wanted == "auto":
        is_open = precision_of(arguments) == "fp32" and not {*_CHOSEN} & {*named}
        pays = is_open and _width(model) >= WIDE and has_native_bf16()
        return _with(arguments, "bf16") if pays else arguments
    if fault := precision_fault(wanted):
        raise TrialError(fault)
    return _with(arguments, wanted)


def precision_fault(wanted: str) -> str | None:
    """Return why this machine does not train in a precision that is asked for by name."""
    if wanted == "bf16" and not has_native_bf16():
        return "task.precision: bf16 is not native here, and would be slow; use auto or fp32"
    if wanted == "fp16" and not torch.cuda.is_available():
        return "task.precision: fp16 needs a GPU, and there is none; use auto or fp32"
    return None


def precision_of(arguments: TrainingArguments) -> str:
    """Return the precision of a training, for its record."""
    return next((name for name in _CHOSEN if getattr(arguments, name)), "fp32")


def as_saved(trainer: Trainer) -> Any:
    """Return the model of a Trainer as a deployment loads it: its passes in their own precision.

    A Trainer leaves its autocast around the forward pass of the model.
    """
    return trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)


@contextmanager
def own_precision(model: Any) -> Iterator[None]:
    """Have the passes of a model be in its own precision, amid the training, for the block.

    The Trainer's autocast is put around `forward` by accelerate, which keeps what was there before.
    """
    original, wrapped = (vars(model).get(name) for name in ("_original_forward", "forward"))
    if original is None or wrapped is None:
        yield
        return
    model.forward = original
    try:
        yield
    finally:
        model.forward = wrapped


def has_native_bf16() -> bool:
    """Return whether the GPU, or else the CPU, multiplies matrices of bfloat16 by itself."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # PyTorch has no public name for this question.
    ask = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(ask and ask())


def _with(arguments: Arguments, precision: str) -> Arguments:
    """Return the arguments in another precision; transformers has to know that there is no GPU."""
    chosen = {name: name == precision for name in _CHOSEN}
    return replace(arguments, use_cpu=not torch.cuda.is_available(), **chosen)


def _width(model: Any) -> int:
    """Return the hidden size of a model; of one with several stages, the largest."""
    config = model.config
    for name in ("hidden_size", "d_model", "dim", "n_embd", "hidden_sizes", "embed_dim"):
        value = getattr(config, name, None)
        if isinstance(value, list | tuple):
            value = max((v for v in value if isinstance(v, int)), default=None)
        if isinstance(value, int):
            return value
    return 0
