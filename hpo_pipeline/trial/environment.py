"""What computed the result of a trial, and what machine its times were measured on."""

from __future__ import annotations

import platform

import accelerate
import torch
import transformers

from hpo_pipeline.experiment.serve import Serve
from hpo_pipeline.results.trial import ONE_PROCESS, OTHERS, TIMED_IN, TIMES_MEASURED
from hpo_pipeline.trial.measuring.machine import cores, cpu
from hpo_pipeline.trial.resuming.checkpoints import Saved

INTERRUPTED = 0.02
"""Fewer interruptions than this do not change a p95."""


def environment(saved: Saved | None = None) -> dict[str, str]:
    """Return the versions of what computed the result, and on what.

    A trial that resumed may have been computed on several devices, which are all named.
    """
    found = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "accelerate": accelerate.__version__,
        "device": _device(),
        "threads": str(torch.get_num_threads()),
    }
    for name, before in saved.record.environment.items() if saved else ():
        if found.get(name, before) not in before.split(", "):
            found[name] = f"{before}, {found[name]}"
    return found


def measured_on(
    serve: Serve, interrupted: float, processes: int, *, was_quiet: bool | None = None
) -> dict[str, str]:
    """Return the machine on which times were just measured, and how.

    Args:
        interrupted: how often the processor was taken away, for each pass that was timed.
        processes: how many fresh ones were timed; 0 for this one alone.
        was_quiet: whether the other trials stood still; None where there was nobody to ask.
    """
    found = {
        "processor": cpu(),
        "cores": str(cores()),
        "threads of a request": str(serve.threads or torch.get_num_threads()),
    }
    if interrupted >= INTERRUPTED:
        found[OTHERS] = f"interrupted 100 passes {100 * interrupted:.0f} times"
    found[TIMED_IN] = f"{processes} fresh processes" if processes else ONE_PROCESS
    if serve.format == "torch":
        found["device"] = _device()
    if was_quiet is not None:
        found[TIMES_MEASURED] = "alone" if was_quiet else "beside other trials"
    return found


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
