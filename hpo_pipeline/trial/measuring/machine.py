"""What a machine is, as far as it decides how fast a model is; loads no torch."""

from __future__ import annotations

import os
import platform
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


def cpu() -> str:
    """Return the model of the processor, or its architecture where the system does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(filter(None, names), platform.machine() or "unknown")
