"""The state of a training as files: weights, optimiser, schedule, random numbers.

Names and formats are those that `Trainer.train(resume_from_checkpoint=…)` reads, which opens
pickles with `weights_only`. Weights are written under the names that the model itself has: the
Trainer would write those of the hub, and resume without them (see pbt_interval.py).
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from hpo_pipeline.errors import TrialError

WEIGHTS_FILE = "model.safetensors"
BEST_FILE = "best.safetensors"
EPOCH_FILE = "epoch_rng.pth"
"""Random numbers at the beginning of the epoch, which decide the order of its rows."""

Weights = dict[str, torch.Tensor]


def trained_weights(model: Any) -> Weights:
    """Return the weights that a training may change, without a copy.

    Of an adapted model (peft) these are the adapter's, for its base is rebuilt as it was.
    """
    state: Weights = model.state_dict()
    if not hasattr(model, "peft_config"):
        return state
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    return {name: tensor for name, tensor in state.items() if name not in frozen}


def copy_weights(model: Any) -> Weights:
    """Return a copy of the weights that a training may change, on the CPU."""
    return {n: t.detach().to("cpu", copy=True) for n, t in trained_weights(model).items()}


def restore_weights(model: Any, weights: Mapping[str, torch.Tensor]) -> None:
    """Give a model weights that `copy_weights` or `read_best` returned.

    Raises:
        TrialError: they are not those of this model.
    """
    missing, unexpected = model.load_state_dict(dict(weights), strict=False)
    wrong = [*unexpected, *(name for name in missing if name in trained_weights(model))]
    if set(wrong) - set(_repeated(model)):
        raise TrialError(f"the saved weights are not those of this model: {', '.join(wrong[:3])}")


def read_own_weights(trainer: Any) -> None:
    """Have a Trainer resume from the weights that `write_weights` wrote, whatever its class.

    Subclasses read checkpoints in forms of their own: that of SentenceTransformer wants a whole
    folder of its library. A checkpoint here has the weights alone, under the model's own names.
    """

    def load(folder: str, model: Any = None) -> None:
        restore_weights(trainer.model, load_file(str(Path(folder) / WEIGHTS_FILE)))

    trainer._load_from_checkpoint = load


def write_weights(weights: Weights, file: Path) -> None:
    """Write weights; those that several names share are written once."""
    found: Weights = {}
    seen: set[tuple[Any, ...]] = set()
    for name, tensor in weights.items():
        place = (tensor.untyped_storage().data_ptr(), tensor.storage_offset(), tensor.shape)
        if tensor.numel() and place in seen:
            continue
        seen.add(place)
        whole = tensor.detach().to("cpu").contiguous()
        is_part = whole.untyped_storage().nbytes() != whole.numel() * whole.element_size()
        found[name] = whole.clone() if is_part else whole
    save_file(found, str(file), metadata={"format": "pt"})


def read_best(folder: Path) -> Weights | None:
    """Return the weights of the best evaluation in a checkpoint, if there is one."""
    file = folder / BEST_FILE
    return load_file(str(file)) if file.exists() else None


def write_best(weights: Weights, folder: Path, before: Path | None) -> None:
    """Write the best weights, or link those of a checkpoint that has the same ones."""
    if before is not None and (before / BEST_FILE).exists():
        try:
            os.link(before / BEST_FILE, folder / BEST_FILE)
            return
        except OSError:  # a file system without links: they are written again
            pass
    write_weights(weights, folder / BEST_FILE)


def write_progress(folder: Path, optimizer: Any, scheduler: Any, scaler: Any) -> None:
    """Write optimiser, schedule, scaler (or None) and random numbers."""
    torch.save(optimizer.state_dict(), folder / "optimizer.pt")
    torch.save(scheduler.state_dict(), folder / "scheduler.pt")
    if scaler is not None:
        torch.save(scaler.state_dict(), folder / "scaler.pt")
    torch.save(_trainer_form(random_state()), folder / "rng_state.pth")


def random_state() -> dict[str, Any]:
    """Return the state of all generators of random numbers."""
    numbers: Any = np.random.get_state(legacy=True)
    name, keys, position, has_gauss, cached = numbers
    state: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached],
        "cpu": torch.random.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: Mapping[str, Any]) -> None:
    """Set all generators to a state that `random_state` returned."""
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.random.set_rng_state(state["cpu"])
    if torch.cuda.is_available() and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"])


def write_epoch(folder: Path, state: Mapping[str, Any]) -> None:
    """Write the random numbers at the beginning of the epoch."""
    torch.save(dict(state), folder / EPOCH_FILE)


def read_epoch(folder: Path) -> dict[str, Any]:
    """Return the random numbers at the beginning of the epoch."""
    found: dict[str, Any] = torch.load(folder / EPOCH_FILE, weights_only=True)
    return found


def _trainer_form(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state as the Trainer keeps it, with the arrays of numpy."""
    name, keys, *rest = state["numpy"]
    return {**state, "numpy": (name, keys.numpy().astype(np.uint32), *rest)}


def _repeated(model: Any) -> list[str]:
    """Return the names of weights that share their memory with another name."""
    names: dict[int, list[str]] = {}
    for name, tensor in model.state_dict().items():
        names.setdefault(tensor.data_ptr(), []).append(name)
    return [name for group in names.values() if len(group) > 1 for name in group]
