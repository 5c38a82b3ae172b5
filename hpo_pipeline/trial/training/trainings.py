"""The trainings of a trial: on shares of its rows where the stopping rule asks for it, then on all.

Each share is trained on from the start, with the whole schedule, and counts as one evaluation, its
best: successive halving (Jamieson and Talwalkar, AISTATS 2016) with rows as the resource. So a
trial is judged by trainings as the one that follows, and the one on all rows is to the last digit
what it would be without them. A trial that is stopped keeps the model of its last share.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import transformers
from transformers import PrinterCallback, Trainer

from hpo_pipeline.data.prepared.dataset import DatasetMeta
from hpo_pipeline.data.storage import UriStorage
from hpo_pipeline.errors import TrialError
from hpo_pipeline.experiment.population import population
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.space import Value
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.results.files import CHECKPOINT_FOLDER, TRAINER_FOLDER
from hpo_pipeline.results.trial import Point, Trial
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.trial.as_served import Clock
from hpo_pipeline.trial.environment import environment
from hpo_pipeline.trial.measuring.fresh_processes import Spare
from hpo_pipeline.trial.measuring.quiet import QuietSlot
from hpo_pipeline.trial.measuring.quiet_callback import QuietCallback
from hpo_pipeline.trial.own.trainer import build_own, own_context, own_measure
from hpo_pipeline.trial.reporting import tracing
from hpo_pipeline.trial.reporting.reporter import Reporter
from hpo_pipeline.trial.reporting.stop_request import StopRequest
from hpo_pipeline.trial.resuming.checkpoint_callback import CheckpointCallback, Resume
from hpo_pipeline.trial.resuming.checkpoints import Checkpoints, Saved
from hpo_pipeline.trial.resuming.pbt_interval import IntervalCallback, read_parent
from hpo_pipeline.trial.resuming.training_state import read_own_weights
from hpo_pipeline.trial.training.building import Built, build
from hpo_pipeline.trial.training.callback import Progress, TrialCallback

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrialSpec:
    """What one trial runs on: `folder` gets its model, `dataset` is a prepared one.

    `resume` is the folder of the trial from whose checkpoint it resumes; `seed` decides the new
    weights, the order of the rows and the dropout; `storage` takes copies of its own checkpoints;
    `quiet` is where the trials of this machine agree on who is timed; `is_judged` says that
    somebody may stop the trial, as nobody does a training that confirms another.
    """

    name: str
    number: int
    assignments: dict[str, Value]
    dataset: Path
    folder: Path
    seed: int
    resume: Path | None = None
    storage: UriStorage | None = None
    quiet: Path | None = None
    is_judged: bool = True


@dataclass(frozen=True)
class Surroundings:
    """What a trial is run among: who hears of it, who may stop it, and who else is timed."""

    reporter: Reporter
    stop: StopRequest
    progress: Progress
    slot: QuietSlot
    spare: Spare | None


@dataclass(frozen=True)
class Done:
    """The last training of a trial, whose model is the trial's.

    `saved` is the checkpoint from which the trial resumed; `parent` the trial that it continues.
    """

    built: Built
    callback: TrialCallback
    clock: Clock
    saved: Saved | None
    parent: int | None

    @property
    def best(self) -> Point:
        """The best evaluation.

        Raises:
            TrialError: there was none.
        """
        if self.callback.best is None:
            raise TrialError("there was no evaluation")
        return self.callback.best

    @property
    def steps(self) -> int:
        """The steps of this training, and of those on shares of the rows before it."""
        of_this: int = self.built.trainer.state.global_step
        return self.callback.steps_before + of_this


def trained(experiment: Experiment, spec: TrialSpec, around: Surroundings) -> Done:
    """Train on shares of the rows, where that is asked for, and unless it is stopped on all.

    Raises:
        TrialError: a training fails.
    """
    shares = experiment.chosen_stopping.row_shares if spec.is_judged else ()
    trainings = _Trainings(experiment, spec, around)
    if trainings.before and len(trainings.before) < len(shares):
        around.reporter.resumed(trainings.before)
    for share in shares[len(trainings.before) :]:
        done = trainings.train(share)
        if done.callback.is_stopped or not around.reporter.evaluated(trainings.over(done)):
            done.callback.is_stopped = True
            return done
    return trainings.train(None)


class _Trainings:
    """The trainings of one trial, one after another.

    Attributes:
        before: the evaluations of shares that are over.
    """

    def __init__(self, experiment: Experiment, spec: TrialSpec, around: Surroundings) -> None:
        self._experiment = experiment
        self._spec = spec
        self._around = around
        self._resume = _resume(experiment, spec, around.stop)
        self._saved = self._resume.saved if self._resume else None
        saved = self._saved
        self.before = saved.record.curve[: saved.record.shares] if saved else ()
        self._clock = Clock(dict(saved.record.seconds) if saved else {})
        self._has_begun = False

    def train(self, share: float | None) -> Done:
        """Train on a share of the rows, of which nobody hears before it is over; None for all."""
        experiment, spec, around, clock = self._experiment, self._spec, self._around, self._clock
        resume, members = self._resume, population(self._experiment)
        saved = resume.saved if resume else None
        parent = read_parent(spec.resume) if spec.resume else None
        interval = IntervalCallback(members, spec.number) if members else None
        task = experiment.task.assigned(spec.assignments)
        # The Trainer makes this folder though nothing may be written there.
        output = spec.folder / (TRAINER_FOLDER if members is None else CHECKPOINT_FOLDER)
        earlier = clock.seconds.get("train", 0.0)
        built = build_trainer(task, spec, output, earlier=earlier, share=share)
        built.practical.slot, built.practical.spare = around.slot, around.spare
        trainer = built.trainer
        waiting = QuietCallback(around.slot)
        callback = TrialCallback(
            experiment.objective,
            _Listener(around.reporter, is_first=not self._has_begun, is_whole=share is None),
            wanted=experiment.reads,
            measure=built.practical.missing,
            stop_asked=around.stop.is_asked,
            progress=around.progress,
            earlier=parent.evaluations if parent else 0,
            before=self.before,
        )
        for follower in (waiting, interval, callback) if interval else (waiting, callback):
            trainer.add_callback(follower)
        trainer.remove_callback(PrinterCallback)  # it writes metrics to stdout in a form of its own
        clock.lap("load")
        saving = None
        if resume is not None:
            saving = CheckpointCallback(
                resume,
                callback,
                scaler=lambda: getattr(trainer.accelerator, "scaler", None),
                spent=lambda: _spent(clock, callback, saving, waiting),
                environment=environment(self._saved),
            )
            trainer.add_callback(saving)
        if parent and interval and saved is None:
            interval.override(trainer.create_optimizer())
        if saved is not None:
            read_own_weights(trainer)
        start = saved.folder if saved else parent.checkpoint if parent else None
        with tracing.span("train"):
            _train(trainer, callback, start)
        self._clock = Clock(_spent(clock, callback, saving, waiting))
        self._has_begun = True
        self._resume = replace(resume, saved=None) if resume else None
        number = parent.number if parent else None
        return Done(built, callback, self._clock, self._saved, number)

    def over(self, done: Done) -> Point:
        """Return the evaluation that a training on a share counts as, which is its only one."""
        point = Point(len(self.before) + 1, done.steps, 0.0, done.best.metrics)
        self.before = (*self.before, point)
        done.callback.curve, done.callback.best = list(self.before), point
        return point


@dataclass(frozen=True)
class _Listener:
    """Hears once that the training begins, and of evaluations only those with all rows."""

    reporter: Reporter
    is_first: bool
    is_whole: bool

    def training(self) -> None:
        if self.is_first:
            self.reporter.training()

    def resumed(self, curve: Sequence[Point]) -> None:
        if self.is_whole:
            self.reporter.resumed(curve)

    def evaluated(self, point: Point) -> bool:
        return self.reporter.evaluated(point) if self.is_whole else True

    def finished(self, trial: Trial) -> None:
        self.reporter.finished(trial)


def _resume(experiment: Experiment, spec: TrialSpec, stop: StopRequest) -> Resume | None:
    """Return how this trial saves itself and resumes, or None where the file does not ask."""
    every = experiment.task.checkpoint
    if every is None:
        return None
    parts = [
        experiment.identity(),
        spec.assignments,
        spec.seed,
        spec.resume.name if spec.resume else None,
        asdict(DatasetMeta.read(spec.dataset)),
        torch.__version__,
        transformers.__version__,
        "by length",  # the order of the rows, which another version had otherwise
    ]
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    store = Checkpoints(spec.folder, key, spec.storage)
    saved = store.newest()
    if saved is not None:
        logger.info("resuming from the checkpoint at step %d", saved.record.step)
    return Resume(every, store, stop, saved)


def _spent(
    clock: Clock,
    callback: TrialCallback,
    saving: CheckpointCallback | None,
    waiting: QuietCallback,
) -> dict[str, float]:
    """Return the wall time by phase up to now, where the training is the phase."""
    parts = {
        "evaluate": callback.evaluate_seconds,
        "save": saving.seconds if saving else 0.0,
        "wait": waiting.seconds,
    }
    parts["train"] = time.perf_counter() - clock.last - sum(parts.values())
    return clock.seconds | {n: clock.seconds.get(n, 0.0) + s for n, s in parts.items()}


def _train(trainer: Trainer, callback: TrialCallback, start: Path | None) -> None:
    batch = trainer.args.train_batch_size
    rows = len(trainer.train_dataset) if hasattr(trainer.train_dataset, "__len__") else batch
    if trainer.args.dataloader_drop_last and rows < batch:
        raise TrialError(
            f"the training has no step: dataloader_drop_last leaves out its only batch, which has "
            f"{rows} of {batch} rows"
        )
    try:
        trainer.train(resume_from_checkpoint=str(start) if start else None)
        done = callback.steps_before + trainer.state.global_step
        is_new = len(callback.curve) == callback.shares
        if is_new or callback.curve[-1].training_step != done:
            trainer.evaluate()
    except torch.OutOfMemoryError as error:
        batch = trainer.args.per_device_train_batch_size
        raise TrialError(f"out of GPU memory at {batch} rows a batch: {error}") from error
    except MemoryError as error:
        raise TrialError("out of memory") from error
    except (RuntimeError, ValueError, IndexError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        if "allocate memory" in str(error):
            first = f"out of memory: {first}"
        raise TrialError(f"training failed: {first}") from error


def build_trainer(
    task: Task,
    spec: TrialSpec,
    output: Path,
    *,
    earlier: float = 0.0,
    share: float | None = None,
) -> Built:
    """Return the Trainer of a trial: that of a kind of ours, or the user's own.

    Args:
        share: of the training rows that it trains on; None for all.
    """
    if not TASKS[task.kind].is_own_code:
        return build(task, spec.dataset, output, spec.seed, earlier=earlier, share=share)
    context = own_context(
        task,
        name=spec.name,
        assignments=spec.assignments,
        seed=spec.seed,
        dataset=spec.dataset,
        output=output,
    )
    return build_own(task, context, earlier=earlier, own_measure=own_measure(task))
