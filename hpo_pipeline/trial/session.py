"""What a training script of the user calls: its values, its reports, its folder.

Outside of a trial a script runs by itself: there are no values, and reports are printed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hpo_pipeline.experiment.space import Value

ALONE = "hpo-model"


@dataclass(frozen=True)
class Session:
    """The trial that this process runs.

    Attributes:
        report: takes training step, epoch and metrics; returns whether to continue, and whether
            these are the best so far.
    """

    assignments: Mapping[str, Value]
    folder: Path
    seed: int
    report: Callable[[int, float, dict[str, float]], tuple[bool, bool]]


@dataclass
class _State:
    session: Session | None = None
    is_best: bool = True


_STATE = _State()


def enter(session: Session | None) -> None:
    """Make a trial the one of this process, or none."""
    _STATE.session, _STATE.is_best = session, True


def assignments() -> dict[str, Value]:
    """Return the values of this trial, by their names in the space; empty outside of a trial."""
    return {} if _STATE.session is None else dict(_STATE.session.assignments)


def seed(default: int = 0) -> int:
    """Return the seed of this trial, or the default outside of one."""
    return default if _STATE.session is None else _STATE.session.seed


def report(*, step: int, epoch: float = 0.0, **metrics: float) -> bool:
    """Report an evaluation after `step` training steps.

    Returns:
        whether to continue. A script that continues where it should stop is ended at its next
        report.

    Raises:
        TrialError: a metric is not a finite number, or its name cannot be used.
    """
    if _STATE.session is None:
        found = ", ".join(f"{name} {value:g}" for name, value in metrics.items())
        print(f"step {step}: {found}", file=sys.stderr)
        return True
    goes_on, _STATE.is_best = _STATE.session.report(step, epoch, metrics)
    return goes_on


def is_best() -> bool:
    """Return whether the last report was the best so far: then the model is worth saving."""
    return _STATE.is_best


def trial_folder() -> Path:
    """Return the folder that the script saves its model into; it is there."""
    folder = Path(ALONE) if _STATE.session is None else _STATE.session.folder
    folder.mkdir(parents=True, exist_ok=True)
    return folder
