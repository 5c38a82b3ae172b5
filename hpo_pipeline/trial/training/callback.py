"""The callback that makes transformers' Trainer a trial: report, remember the best, stop.

It is all that a trial adds to the Trainer, which is used as it is.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import TrainerCallback

from hpo_pipeline.errors import TrialError
from hpo_pipeline.experiment.metrics import SCORE, Metrics
from hpo_pipeline.experiment.objective import Objective, with_score
from hpo_pipeline.results.trial import Point
from hpo_pipeline.trial.reporting import tracing
from hpo_pipeline.trial.reporting.reporter import Reporter
from hpo_pipeline.trial.resuming.training_state import copy_weights
from hpo_pipeline.trial.training.building import refuse_taken

_TIMINGS = ("runtime", "samples_per_second", "steps_per_second", "model_preparation_time")


@dataclass
class Progress:
    """How far a training has come: `steps` are done, as a failure's record has to say."""

    steps: int = 0


class TrialCallback(TrainerCallback):
    """Follows one training.

    Attributes:
        curve: one point for each evaluation, and before them one for each training on a share.
        shares: how many trainings on a share of the rows came before.
        steps_before: how many steps they took.
        best: the point of the best evaluation, by the first objective.
        best_weights: the weights at `best`, on the CPU; None while the model still has them.
        is_stopped: whether training was stopped early.
        evaluate_seconds: wall time of evaluations and of what belongs to them.
    """

    def __init__(
        self,
        objectives: tuple[Objective, ...],
        reporter: Reporter,
        *,
        wanted: frozenset[str],
        measure: Callable[[Any, frozenset[str]], dict[str, float]],
        stop_asked: Callable[[], bool],
        progress: Progress,
        earlier: int = 0,
        before: Sequence[Point] = (),
    ) -> None:
        """Follow a training that continues after `earlier` evaluations.

        `before` are those of trainings on shares of the rows, whose steps count. `measure` gives
        those of the `wanted` metrics that an evaluation lacks, as far as it can.
        """
        self._objectives = objectives
        self._reporter = reporter
        self._wanted = wanted
        self._measure = measure
        self._stop_asked = stop_asked
        self._progress = progress
        self._earlier = earlier
        self.curve: list[Point] = list(before)
        self.shares = len(before)
        self.steps_before = before[-1].training_step if before else 0
        self.best: Point | None = None
        self.best_weights: dict[str, Any] | None = None
        self.is_stopped = False
        self.evaluate_seconds = 0.0

    def resume(
        self, curve: Sequence[Point], best_step: int | None, weights: dict[str, Any] | None
    ) -> None:
        """Take over what an earlier attempt found, and tell those who lost it with the attempt."""
        self.curve = list(curve)
        self.best = next((point for point in curve if point.step == best_step), None)
        self.best_weights = weights
        self._reporter.resumed(curve)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Say that the first training step begins."""
        self._reporter.training()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End the training where the outside asks for it, unless it has just ended."""
        self._progress.steps = self.steps_before + state.global_step
        if self._stop_asked() and not control.should_training_stop:
            self.is_stopped = control.should_training_stop = True

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Metrics | None = None, **kwargs: Any
    ) -> None:
        """Fail a training that has diverged, instead of training on."""
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(float(loss)):
            raise TrialError(f"the training loss is {loss} at step {state.global_step}")

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: Metrics | None = None, **kwargs: Any
    ) -> None:
        """Report the evaluation and keep the weights if it is the best so far."""
        start = time.perf_counter()
        found = own_names(metrics or {})
        earlier = self.evaluate_seconds
        self.evaluate_seconds += float((metrics or {}).get("eval_runtime", 0.0))
        for name, value in found.items():
            if not math.isfinite(value):
                step = f"at step {state.global_step}"
                raise TrialError(f"{name} is {value} in evaluation {len(self.curve) + 1} {step}")
        refuse_taken(found, "the evaluation")
        if missing := self._wanted - set(found) - {SCORE}:
            found = {**found, **self._measure(kwargs["model"], missing)}
        check_reads(self._objectives, found, "the evaluation")
        found = with_score(found, self._objectives)
        number = self._earlier + len(self.curve) + 1
        steps = self.steps_before + state.global_step
        point = Point(number, steps, float(state.epoch or 0), found)
        self.curve.append(point)
        is_last = control.should_training_stop or state.global_step >= state.max_steps
        self._keep_best(point, kwargs["model"], is_last=is_last)
        if not self._reporter.evaluated(point) and not is_last:
            self.is_stopped = control.should_training_stop = True
        self.evaluate_seconds += time.perf_counter() - start
        tracing.phase("evaluate", self.evaluate_seconds - earlier)

    def _keep_best(self, point: Point, model: Any, *, is_last: bool) -> None:
        if self.best is None or is_better(self._objectives, point, self.best):
            self.best = point
            # After the last step the model itself keeps the weights: no copy is needed.
            self.best_weights = None if is_last else copy_weights(model)


def reads_of(objectives: Sequence[Objective]) -> frozenset[str]:
    """Return the metrics that objectives are made of."""
    return frozenset().union(*(objective.reads for objective in objectives))


def check_reads(objectives: Sequence[Objective], found: Metrics, source: str) -> None:
    """Raise where metrics lack one that an objective reads.

    Raises:
        TrialError: they do; the message names it, and what there is.
    """
    if missing := reads_of(objectives) - set(found):
        raise TrialError(
            f"{source} gives no {', '.join(sorted(missing))}, which the objective reads; it gives "
            f"{', '.join(sorted(found)) or 'nothing'}"
        )


def is_better(objectives: Sequence[Objective], one: Point, other: Point) -> bool:
    """Return whether a point is better than another, by the first objective."""
    first = objectives[0]
    new, old = (first.sign() * first.value(point.metrics) for point in (one, other))
    return new > old or (math.isnan(old) and not math.isnan(new))


def own_names(metrics: Metrics) -> dict[str, float]:
    """Return the metrics of an evaluation by the names that objectives use.

    Raises:
        TrialError: one is not a number.
    """
    names = {name.removeprefix("eval_"): value for name, value in metrics.items()}
    names = {n: v for n, v in names.items() if n not in _TIMINGS and n != "epoch"}
    try:
        return {n: float(v) for n, v in names.items()}
    except (TypeError, ValueError) as error:
        raise TrialError(f"a metric of the evaluation is not a number ({error})") from error
