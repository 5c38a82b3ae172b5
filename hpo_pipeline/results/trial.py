"""What a trial and a search leave behind: small frozen values and their JSON files.

Writer and reader of each file are together here. Nothing here knows how a trial is run.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field

from hpo_pipeline.errors import RunFolderError
from hpo_pipeline.experiment.space import Value
from hpo_pipeline.experiment.verdict import Interval
from hpo_pipeline.results.files import RESULT_FILE, PlainName, read_json, validated_or_none

SCORED = "normal_score"
"""Metric of a trial of another search whose objectives are ranks there, not values."""


class TrialState(StrEnum):
    """Where a trial is. A stopped trial has a result, that of its best evaluation so far."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Whether the trial is over."""
        return self in (TrialState.SUCCEEDED, TrialState.STOPPED, TrialState.FAILED)


@dataclass(frozen=True)
class Point:
    """One evaluation of a trial: the first has step 1."""

    step: int
    training_step: int
    epoch: float
    metrics: dict[str, float]


def last_attempt(points: Iterable[Point]) -> list[Point]:
    """Return the points of a trial that was run in several attempts, numbered anew.

    What a trial reports goes to the same place each time it is run, as after an eviction. It
    begins anew, or where its last checkpoint was: what it reports again replaces what was there.
    """
    found: list[Point] = []
    for point in points:
        while found and point.training_step <= found[-1].training_step:
            found.pop()
        found.append(dataclasses.replace(point, step=len(found) + 1))
    return found


@dataclass(frozen=True)
class Variant:
    """One artefact of a trial, as it was measured: `title` says what it is.

    `interrupted` is how often the processor was taken away, for each pass that was timed, and
    `processes` how many fresh processes its times are from; 0 for the trial's own.
    """

    title: str
    metrics: dict[str, float]
    intervals: dict[str, Interval] = field(default_factory=dict)
    interrupted: float = 0.0
    processes: int = 0


@dataclass(frozen=True)
class Trial:
    """A trial as its `result.json` holds it.

    `metrics` are those of the best evaluation, with the practical metrics of the finished
    model; `intervals` are the 95 % intervals of those that were sampled. `seconds` holds the wall
    time by phase (load, train, evaluate, save, export, measure, and wait for others). Of the
    `variants` that it was measured as, where there are several, its metrics are those of `served`,
    the best. A trial
    with a `parent` resumed from the checkpoint of the trial of that number: its points, steps
    and epochs count on from there.
    """

    name: PlainName
    number: Annotated[int, Field(ge=0)]
    state: TrialState
    assignments: dict[str, Value]
    metrics: dict[str, float] = field(default_factory=dict)
    curve: tuple[Point, ...] = ()
    best_step: int | None = None
    training_steps: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    reason: str | None = None
    reused_from: str | None = None
    parent: int | None = None
    environment: dict[str, str] = field(default_factory=dict)
    intervals: dict[str, Interval] = field(default_factory=dict)
    served: str | None = None
    variants: tuple[Variant, ...] = ()

    @property
    def failed_at_start(self) -> bool:
        """Whether it failed before its first training step was done, as all others may then."""
        return self.state is TrialState.FAILED and self.training_steps == 0 and not self.curve

    def to_json(self) -> dict[str, Any]:
        """Return plain data; numbers that are not finite have no place in it."""
        data = dataclasses.asdict(self)
        data["curve"] = [dataclasses.asdict(point) for point in self.curve]
        return data

    @classmethod
    def from_json(cls, data: object) -> Self | None:
        """Return the trial that `to_json` wrote, or None where the data are not one.

        Entries of later versions are ignored; types, and the name as a plain file name, are not.
        """
        return validated_or_none(cls, data)


TIMES_MEASURED = "times measured"
"""Entry of a trial's environment: whether it was alone on the machine when it was timed."""


TIMED_IN = "timed in"
"""Entry of a trial's environment: how many processes its times are from."""
ONE_PROCESS = "one process"
"""Its value where nobody reads the times, or the model cannot be loaded by another process."""


MEASURED_FOR = "measured for"
"""Entry of an evaluation's environment: how long the practical metrics took to measure."""


OTHERS = "other processes"
"""Entry of a trial's environment: how much they disturbed the timing, where they did."""


_NOT_ITS_FAULT = "the engine that started this trial is gone"


def read_trial(folder: Path) -> Trial | None:
    """Return the finished trial of a folder; None where there is none, or it is damaged.

    A result belongs to its folder: one that names another trial is not believed.
    """
    try:
        found = Trial.from_json(read_json(folder / RESULT_FILE))
    except (FileNotFoundError, RunFolderError):
        return None
    # Earlier versions recorded a trial as failed where only its engine had ended: it is rerun.
    if found is None or found.name != folder.name or found.reason == _NOT_ITS_FAULT:
        return None
    return found


def finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics that are numbers."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
