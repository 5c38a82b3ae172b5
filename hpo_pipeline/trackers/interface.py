"""What a tracker is given and what it must do: see tests/trackers/contract.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.space import Value
from hpo_pipeline.results.run_state import RunState
from hpo_pipeline.results.trial import Point, Trial

CURVE = "curve/"
"""Before the names of metrics on the way; those of the result have their plain names."""


@dataclass(frozen=True)
class TrackedRun:
    """The run that is tracked.

    Attributes:
        run_id: names it among all runs, also after it was resumed.
        folder: the run folder.
        environ: where addresses and credentials come from; never the experiment file.
    """

    run_id: str
    experiment: Experiment
    folder: Path
    environ: Mapping[str, str]


@dataclass(frozen=True)
class TimedPoint:
    """An evaluation and when it was reported, in seconds since 1970."""

    time: float
    point: Point


@dataclass(frozen=True)
class TrialEntry:
    """What is new of a trial.

    Attributes:
        begins_anew: what was sent of it before does not hold any more: it is trained again.
        points: evaluations that were not sent before.
        ended: the trial, once it is over; with its whole curve.
        time: when that happened.
        is_replicate: whether it is a training of a best configuration with another seed.
    """

    name: str
    number: int
    assignments: Mapping[str, Value]
    time: float
    points: tuple[TimedPoint, ...] = ()
    ended: Trial | None = None
    begins_anew: bool = False
    is_replicate: bool = False


@dataclass(frozen=True)
class RunEntry:
    """How the run is: its state, its winner with test metrics, its registration."""

    time: float
    state: RunState


class Ledger(Protocol):
    """What a tracker keeps between two processes: texts by key, on disk as soon as they are set."""

    def get(self, key: str) -> str | None:
        """Return a text, or None."""

    def set(self, key: str, text: str) -> None:
        """Keep a text."""


class Tracker(Protocol):
    """Shows a run to people. What it is sent may come twice, and must then change nothing.

    Each method raises TrackingError where the tracker does not answer, or refuses its credentials:
    the same is then sent again later. It raises Refused where this entry will never be taken.
    """

    def trial(self, entry: TrialEntry) -> None:
        """Show what is new of a trial; the first entry of a trial makes it known."""

    def run(self, entry: RunEntry) -> None:
        """Show how the run is, and keep the winner's model where the tracker keeps files."""

    def close(self) -> None:
        """Send what the client has still in memory."""
