"""Trackers that people already have: MLflow, Weights & Biases, TensorBoard.

The process that follows a run only appends what happened to a queue in the run folder (queue.py,
tracked_progress.py). A process of its own (sender.py) sends it on, as often as it takes. So a
tracker that is down delays nothing, a crash loses nothing, and no client is loaded beside the
search.

To add a tracker, write a module with `faults` and `open_tracker` (see `TrackerModule`), add its row
here, and its name to `experiment/track.py`. tests/trackers/contract.py has what all must do.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from hpo_pipeline.trackers.interface import Ledger, TrackedRun, Tracker

TRACKERS = {
    "mlflow": "hpo_pipeline.trackers.to_mlflow",
    "tensorboard": "hpo_pipeline.trackers.to_tensorboard",
    "wandb": "hpo_pipeline.trackers.to_wandb",
}
"""The module of each tracker, by the name in `track`. None imports its client at the top."""


class TrackerModule(Protocol):
    """What the module of a tracker has."""

    def faults(self, environ: Mapping[str, str]) -> list[str]:
        """Return what is wrong with its package or its settings, without asking any server."""

    def open_tracker(self, run: TrackedRun, ledger: Ledger) -> Tracker:
        """Open it.

        Raises:
            TrackingError: it cannot be reached now.
        """


def module_of(name: str) -> TrackerModule:
    """Return the module of a tracker."""
    return cast("TrackerModule", import_module(TRACKERS[name]))


def faults(names: tuple[str, ...], environ: Mapping[str, str]) -> list[str]:
    """Return what would keep trackers from working, so that a run says it before it starts."""
    return [f"track: {name}: {text}" for name in names for text in module_of(name).faults(environ)]
