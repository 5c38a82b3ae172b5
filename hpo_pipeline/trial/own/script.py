"""A training script of the user's: a loop without a Trainer, run in the process of the trial."""

from __future__ import annotations

import contextlib
import logging
import math
import runpy
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import transformers

from hpo_pipeline.errors import HpoError, TrialError
from hpo_pipeline.experiment.objective import Objective, with_score
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.results.trial import Point
from hpo_pipeline.trial import session
from hpo_pipeline.trial.measuring.practical_metrics import Finished, measure
from hpo_pipeline.trial.reporting.reporter import METRIC_NAME, Reporter
from hpo_pipeline.trial.reporting.stop_request import StopRequest
from hpo_pipeline.trial.training.building import checked_metrics
from hpo_pipeline.trial.training.callback import Progress, check_reads, is_better, reads_of

logger = logging.getLogger(__name__)


class _Stopped(BaseException):
    """Ends a script that continues where it should stop; no `except Exception` holds it."""


class ScriptRun:
    """One run of a script, and what it has reported.

    Attributes:
        curve: one point for each report.
        best: the best of them, by the first objective.
        is_stopped: whether it was told to stop.
    """

    def __init__(
        self,
        objectives: tuple[Objective, ...],
        reporter: Reporter,
        stop: StopRequest,
        progress: Progress,
    ) -> None:
        self._objectives = objectives
        self._reporter = reporter
        self._stop = stop
        self._progress = progress
        self._start = time.perf_counter()
        self.curve: list[Point] = []
        self.best: Point | None = None
        self.is_stopped = False

    def run(self, script: Path, folder: Path, assignments: Mapping[str, Any], seed: int) -> None:
        """Run the whole script.

        Raises:
            TrialError: it raises, or exits with another code than 0.
        """
        transformers.set_seed(seed)
        session.enter(session.Session(assignments, folder, seed, self._report))
        before = sys.argv, list(sys.path)
        sys.argv, sys.path = [str(script)], [str(script.parent), *sys.path]
        self._reporter.training()
        try:
            # stdout belongs to the metric lines.
            with contextlib.redirect_stdout(sys.stderr):
                runpy.run_path(str(script), run_name="__main__")
        except _Stopped:
            logger.warning("%s went on where it should have stopped", script.name)
        except SystemExit as error:
            if error.code not in (None, 0):
                raise TrialError(f"{script.name} exited with {error.code}") from error
        except HpoError:
            raise
        # Foreign code may raise anything, and the trial should say whose code it was.
        except Exception as error:
            logger.exception("%s failed", script.name)
            first = (str(error).splitlines() or [""])[0]
            raise TrialError(f"{script.name} raised {type(error).__name__}: {first}") from error
        finally:
            session.enter(None)
            sys.argv, sys.path = before
        if self.best is None:
            raise TrialError(f"{script.name} ended without a call of hpo_pipeline.report")

    def _report(self, step: int, epoch: float, found: dict[str, float]) -> tuple[bool, bool]:
        if self.is_stopped:
            raise _Stopped
        if self.curve and step <= self.curve[-1].training_step:
            last = self.curve[-1].training_step
            raise TrialError(f"report: step must grow, got {step} after {last}")
        metrics = checked_metrics(found, "report")
        if wrong := [name for name in metrics if not METRIC_NAME.fullmatch(name)]:
            raise TrialError(f"report: {wrong[0]!r} cannot be the name of a metric")
        if missing := reads_of(self._objectives) - set(metrics):
            metrics |= self._practical(missing)
        check_reads(self._objectives, metrics, "the report")
        metrics = with_score(metrics, self._objectives)
        point = Point(len(self.curve) + 1, int(step), float(epoch), metrics)
        self.curve.append(point)
        self._progress.steps = point.training_step
        is_best = self.best is None or is_better(self._objectives, point, self.best)
        self.best = point if is_best else self.best
        goes_on = self._reporter.evaluated(point) and not self._stop.is_asked()
        self.is_stopped = not goes_on
        return goes_on, is_best

    def _practical(self, names: frozenset[str]) -> dict[str, float]:
        found = {"train_seconds": time.perf_counter() - self._start}
        return {n: v for n, v in found.items() if n in names and math.isfinite(v)}


def script_of(task: Task) -> Path:
    """Return the script of a task.

    Raises:
        TrialError: it is not here; on a cluster, the image has to have it.
    """
    settings: Any = task.settings
    script = Path(settings.script)
    for place in (script, Path.cwd() / script.name):
        if place.is_file():
            return place
    raise TrialError(
        f"there is no {script}, and no {script.name} in {Path.cwd()}; on a cluster, put it into "
        f"the working folder of the image"
    )


def folder_metrics(folder: Path, seconds: float) -> dict[str, float]:
    """Return the practical metrics that need no model: those of the files, and of the process."""
    return measure(Finished(None, folder=folder, train_seconds=lambda: seconds)).metrics
