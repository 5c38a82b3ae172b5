"""What this machine has to run trials on: cores and GPUs, without loading torch."""

from __future__ import annotations

import os
from pathlib import Path

from hpo_pipeline.trial.measuring.machine import cores as cores


def gpus() -> list[str]:
    """Return the GPUs that trials may use, as CUDA_VISIBLE_DEVICES names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name and name != "-1"]
    devices = (path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*"))
    return [str(i) for i, _ in enumerate(sorted(devices, key=int))]


def visible(gpus: list[str], slot: int) -> dict[str, str]:
    """Return the environment that shows one GPU to a process, by the slot that it runs in."""
    return {"CUDA_VISIBLE_DEVICES": gpus[slot % len(gpus)]} if gpus else {}
