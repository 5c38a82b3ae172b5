"""What the search loop asks of whatever runs its trials: start, events, stop.

A runner knows processes, pods or remote actors, and nothing of searches: to run trials elsewhere
with all our strategies, write a runner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from hpo_pipeline.experiment.space import Value
from hpo_pipeline.results.trial import Point, Trial


@dataclass(frozen=True)
class TrialStart:
    """A trial to start.

    `parent` is the name of the trial from whose checkpoint it resumes, if any; `seed` is that of
    its training where it is not the search's.
    """

    name: str
    number: int
    assignments: Mapping[str, Value]
    parent: str | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Evaluated:
    """A trial has evaluated and waits: `answer` must be called, True to stop it here."""

    name: str
    point: Point
    answer: Callable[[bool], None]


@dataclass(frozen=True)
class Noted:
    """A trial has reached a phase that the timeline records."""

    name: str
    event: str


@dataclass(frozen=True)
class Ended:
    """A trial is over: with its result, or without one for a reason.

    `was_killed` tells a death by SIGKILL, which is nothing that the configuration did: the
    trial is run again a few times.
    """

    name: str
    trial: Trial | None
    reason: str = ""
    was_killed: bool = False
    was_stopped: bool = False


@dataclass(frozen=True)
class Resumed:
    """A trial resumes from its checkpoint, where it had this curve."""

    name: str
    curve: tuple[Point, ...]


Event = Evaluated | Noted | Resumed | Ended


class Runner(Protocol):
    """Runs trials side by side, at most `slots` at a time."""

    @property
    def slots(self) -> int:
        """How many trials may run at a time."""

    def start(self, trial: TrialStart) -> None:
        """Start a trial; it must leave `result.json` in its folder of the run."""

    def events(self, timeout: float) -> Iterable[Event]:
        """Wait for events at most so many seconds, and return those that came.

        Raises:
            Interrupted: by Ctrl-C or SIGTERM.
            BackendError: no trial can run any more; a new runner may resume the search.
        """

    def stop(self, name: str, *, now: bool = False) -> None:
        """Ask a trial to evaluate, write its result and end; with `now`, end it at once."""
