"""What a trial and a search leave behind: small frozen values and their JSON files.

Writer and reader of each file stand together here. Nothing here knows how a trial is run.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from hpo_pipeline.space import Value

RESULT_FILE = "result.json"
MODEL_FOLDER = "model"
CHECKPOINT_FOLDER = "checkpoint"
DATASET_FILE = "dataset.json"
DISK_FULL_EXIT = 74
"""Exit code of a trial that could not write: sysexits' EX_IOERR."""


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


@dataclass(frozen=True)
class Trial:
    """A trial as its `result.json` holds it.

    `metrics` are those of the best evaluation, with the practical metrics of the finished
    model; `seconds` holds the wall time by phase (load, train, evaluate, measure, save). A trial
    with a `parent` went on from the checkpoint of the trial of that number: its points, steps
    and epochs count on from there.
    """

    name: str
    number: int
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

    def to_json(self) -> dict[str, Any]:
        """Return plain data; numbers that are not finite have no place in it."""
        data = dataclasses.asdict(self)
        data["curve"] = [dataclasses.asdict(point) for point in self.curve]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the trial that `to_json` wrote; fields of later versions are passed over."""
        values = _known(cls, data)
        values["state"] = TrialState(values["state"])
        values["curve"] = tuple(Point(**_known(Point, p)) for p in values.get("curve", ()))
        return cls(**values)


@dataclass(frozen=True)
class Confirmed:
    """A configuration that was trained again with other seeds.

    `trial` is the name of the search's trial, whose own result does not count here. `mean` and
    `std` (the sample standard deviation) are those of the runs with a result, which `seeds`
    lists; `failed` says by seed why others have none. `median` is the name of the run in the
    middle of them, which stands for the configuration.
    """

    trial: str
    assignments: dict[str, Value]
    seeds: tuple[int, ...]
    mean: dict[str, float]
    std: dict[str, float]
    failed: dict[str, str]
    median: str | None


@dataclass(frozen=True)
class Evaluation:
    """A finished model on the held-out test rows, measured alone.

    `confusion` counts rows by their label (outer) and by what the model says (inner), in the
    order of `labels`.
    """

    metrics: dict[str, float]
    labels: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return what `to_json` wrote."""
        rows = tuple(tuple(row) for row in data.get("confusion", ()))
        return cls(dict(data["metrics"]), tuple(data.get("labels", ())), rows)


@dataclass(frozen=True)
class Chosen:
    """The winning configuration, and the run whose model stands for it.

    `trial` is a trial of the search; `run` is the same, or a run with another seed, which lies in
    the folder of the confirmation; `seed` is what the run was trained with.
    """

    trial: str
    run: str
    seed: int

    @property
    def is_rerun(self) -> bool:
        """Whether the model is that of another run than the search's."""
        return self.run != self.trial


@dataclass(frozen=True)
class Winner:
    """The best configuration, its validation metrics, and those on the held-out test rows.

    `name` is that of its trial in the search; `run` that of the run that its model and its
    metrics are of, where this is another one.
    """

    name: str
    assignments: dict[str, Value]
    metrics: dict[str, float]
    test: dict[str, float] = field(default_factory=dict)
    model: str | None = None
    registered: str | None = None
    note: str | None = None
    run: str | None = None


@dataclass(frozen=True)
class SearchResult:
    """A search as it stands: `state` is running, interrupted, succeeded or failed."""

    experiment: str
    state: str
    seconds: float
    trials: tuple[Trial, ...]
    winner: Winner | None = None
    reason: str | None = None
    confirmed: tuple[Confirmed, ...] = ()

    def counts(self) -> dict[str, int]:
        """Return how many trials are in each state; states that none is in are left out."""
        states = [trial.state.value for trial in self.trials]
        return {
            state.value: states.count(state.value) for state in TrialState if state.value in states
        }

    def summary(self) -> dict[str, Any]:
        """Return what `hpo status --json` prints."""
        return {
            "experiment": self.experiment,
            "state": self.state,
            "reason": self.reason,
            "seconds": round(self.seconds, 3),
            "trials": self.counts(),
            "confirmed": [dataclasses.asdict(found) for found in self.confirmed],
            "winner": dataclasses.asdict(self.winner) if self.winner else None,
        }


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a JSON file so that a reader sees the old or the new content, never half of it.

    Raises:
        ValueError: a number is not finite.
        OSError: the file cannot be written; what was there before is still there.
    """
    text = json.dumps(data, indent=1, allow_nan=False)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def read_trial(folder: Path) -> Trial | None:
    """Return the finished trial of a folder, or None where there is none (yet)."""
    try:
        return Trial.from_json(json.loads((folder / RESULT_FILE).read_text("utf-8")))
    except (FileNotFoundError, AttributeError, KeyError, TypeError, ValueError):
        return None


def _known(cls: type[Trial | Point], data: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(cls)}
    return {name: value for name, value in data.items() if name in names}


def finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics that are numbers."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
