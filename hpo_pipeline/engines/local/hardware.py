"""What this machine has to run trials on: cores and GPUs, without loading torch."""

from __future__ import annotations

import os
from pathlib import Path


def cores() -> int:
    """Return how many cores this process may use, a container's CPU limit included."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        limit = int(quota) / int(period) if quota != "max" else float("inf")
    except (OSError, ValueError):
        limit = float("inf")
    return max(1, int(min(usable or 1, limit)))


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
