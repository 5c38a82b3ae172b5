"""One trial from its data to its result: load, train, measure, save.

transformers.Trainer is used as it is; callback.py reports and remembers, measuring/ measures.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import transformers
from transformers import PrinterCallback, Trainer

from hpo_pipeline.data.dataset import DatasetMeta
from hpo_pipeline.data.storage import UriStorage
from hpo_pipeline.errors import TrialError
from hpo_pipeline.experiment.objective import with_score
from hpo_pipeline.experiment.population import population
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.space import Value
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.results.files import CHECKPOINT_FOLDER, MODEL_FOLDER, TRAINER_FOLDER
from hpo_pipeline.results.ranking import best_variant
from hpo_pipeline.results.trial import Point, Trial, TrialState
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.trial import tracing
from hpo_pipeline.trial.as_served import Clock, Trained, as_served
from hpo_pipeline.trial.building import Built, build, checked_metrics
from hpo_pipeline.trial.callback import Progress, TrialCallback
from hpo_pipeline.trial.environment import environment, measured_on
from hpo_pipeline.trial.measuring.fresh_processes import Spare
from hpo_pipeline.trial.measuring.purpose import Purpose
from hpo_pipeline.trial.measuring.quiet import QuietSlot
from hpo_pipeline.trial.measuring.quiet_callback import QuietCallback
from hpo_pipeline.trial.measuring.timing import spare_for
from hpo_pipeline.trial.own.script import ScriptRun, folder_metrics, script_of
from hpo_pipeline.trial.own.trainer import (
    build_own,
    one_gpu,
    own_context,
    own_measure,
    write_metrics,
)
from hpo_pipeline.trial.precision import precision_of
from hpo_pipeline.trial.reporting import Reporter
from hpo_pipeline.trial.resuming.checkpoint_callback import CheckpointCallback, Resume
from hpo_pipeline.trial.resuming.checkpoints import Checkpoints
from hpo_pipeline.trial.resuming.pbt_interval import IntervalCallback, read_parent
from hpo_pipeline.trial.resuming.training_state import read_own_weights, restore_weights
from hpo_pipeline.trial.stop_request import StopRequest

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrialSpec:
    """What one trial runs on: `folder` gets its model, `dataset` is a prepared one.

    `resume` is the folder of the trial from whose checkpoint it resumes; `seed` decides the new
    weights, the order of the rows and the dropout; `storage` takes copies of its own checkpoints;
    `quiet` is where the trials of this machine agree on who is timed.
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


def run_trial(
    experiment: Experiment,
    spec: TrialSpec,
    *,
    reporter: Reporter,
    stop: StopRequest,
    progress: Progress,
) -> Trial:
    """Train one configuration and return its result; the model is in the trial's folder.

    Raises:
        TrialError: the configuration gives no result; the message says why.
    """
    if getattr(experiment.task.settings, "script", None) is not None:
        return _run_script(experiment, spec, reporter=reporter, stop=stop, progress=progress)
    ways = experiment.serve.assigned(spec.assignments).variants
    # Before anything is computed, and before the slot has locks.
    with spare_for(Purpose(experiment.reads), ways) as spare:
        return _run_trainer(experiment, spec, reporter, stop, progress, spare)


def _run_trainer(
    experiment: Experiment,
    spec: TrialSpec,
    reporter: Reporter,
    stop: StopRequest,
    progress: Progress,
    spare: Spare | None,
) -> Trial:
    slot = QuietSlot(spec.quiet)
    slot.work()
    resume = _resume(experiment, spec, stop)
    saved = resume.saved if resume else None
    clock = Clock(dict(saved.record.seconds) if saved else {})
    parent = read_parent(spec.resume) if spec.resume else None
    members = population(experiment)
    interval = IntervalCallback(members, spec.number) if members else None
    task = experiment.task.assigned(spec.assignments)
    # The Trainer makes this folder though nothing may be written there.
    output = spec.folder / (TRAINER_FOLDER if members is None else CHECKPOINT_FOLDER)
    built = build_trainer(task, spec, output, earlier=clock.seconds.get("train", 0.0))
    built.practical.slot, built.practical.spare = slot, spare
    trainer = built.trainer
    waiting = QuietCallback(slot)
    callback = TrialCallback(
        experiment.objective,
        reporter,
        wanted=experiment.reads,
        measure=built.practical.missing,
        stop_asked=stop.is_asked,
        progress=progress,
        earlier=parent.evaluations if parent else 0,
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
            environment=environment(saved),
        )
        trainer.add_callback(saving)
    if parent and interval and saved is None:
        interval.override(trainer.create_optimizer())
    if saved is not None:
        read_own_weights(trainer)
    start = saved.folder if saved else parent.checkpoint if parent else None
    with tracing.span("train"):
        _train(trainer, callback, start)
    clock = Clock(_spent(clock, callback, saving, waiting))
    trained = _saved(built, callback, spec.folder, clock)
    trial = _as_served(experiment, spec, callback, trained, clock)
    return replace(
        trial,
        parent=parent.number if parent else None,
        environment={**environment(saved), **trial.environment},
    )


def _saved(built: Built, callback: TrialCallback, folder: Path, clock: Clock) -> Trained:
    """Save the model with its best weights."""
    best = _best(callback)
    if callback.best_weights is not None:
        restore_weights(built.trainer.model, callback.best_weights)
    model = built.save(folder / MODEL_FOLDER)
    shutil.rmtree(folder / TRAINER_FOLDER, ignore_errors=True)
    clock.lap("save")
    return Trained(built, model, folder / MODEL_FOLDER, best.metrics)


def _as_served(
    experiment: Experiment,
    spec: TrialSpec,
    callback: TrialCallback,
    trained: Trained,
    clock: Clock,
) -> Trial:
    """Measure a model in each way in which it may be served, and return the result of the best."""
    built, slot = trained.built, trained.built.practical.slot
    variants = experiment.serve.assigned(spec.assignments).variants
    found = [as_served(experiment, trained, serve, clock) for serve in variants]
    slot.end()
    best = best_variant(experiment, found)
    serve, chosen = variants[best], found[best]
    built.keep(serve, trained.folder)
    trial = _result(
        experiment,
        spec,
        callback,
        chosen.metrics,
        steps=built.trainer.state.global_step,
        seconds=clock.seconds,
    )
    return replace(
        trial,
        served=serve.title,
        variants=tuple(found) if len(found) > 1 else (),
        environment={
            **measured_on(serve, chosen.interrupted, chosen.processes, was_quiet=slot.was_quiet),
            "precision": precision_of(built.trainer.args),
        },
        intervals=chosen.intervals,
    )


def _result(
    experiment: Experiment,
    spec: TrialSpec,
    followed: TrialCallback | ScriptRun,
    found: dict[str, float],
    *,
    steps: int,
    seconds: dict[str, float],
) -> Trial:
    """Return the result of a trial with these metrics; for a gate without rows, write them too."""
    metrics = with_score(found, experiment.objective)
    if TASKS[experiment.task.kind].is_own_code:
        write_metrics(spec.folder / MODEL_FOLDER, metrics)
    return Trial(
        name=spec.name,
        number=spec.number,
        state=TrialState.STOPPED if followed.is_stopped else TrialState.SUCCEEDED,
        assignments=spec.assignments,
        metrics=metrics,
        curve=tuple(followed.curve),
        best_step=None if followed.best is None else followed.best.step,
        training_steps=steps,
        seconds=seconds,
        environment=environment(),
    )


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
        if not callback.curve or callback.curve[-1].training_step != trainer.state.global_step:
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


def _best(callback: TrialCallback) -> Point:
    if callback.best is None:
        raise TrialError("there was no evaluation")
    return callback.best


def build_trainer(task: Task, spec: TrialSpec, output: Path, *, earlier: float = 0.0) -> Built:
    """Return the Trainer of a trial: that of a kind of ours, or the user's own."""
    if not TASKS[task.kind].is_own_code:
        return build(task, spec.dataset, output, spec.seed, earlier=earlier)
    context = own_context(
        task,
        name=spec.name,
        assignments=spec.assignments,
        seed=spec.seed,
        dataset=spec.dataset,
        output=output,
    )
    return build_own(task, context, earlier=earlier, own_measure=own_measure(task))


def _run_script(
    experiment: Experiment,
    spec: TrialSpec,
    *,
    reporter: Reporter,
    stop: StopRequest,
    progress: Progress,
) -> Trial:
    """Run the user's script as a trial."""
    clock = Clock()
    one_gpu()
    task = experiment.task.assigned(spec.assignments)
    folder = spec.folder / MODEL_FOLDER
    ran = ScriptRun(experiment.objective, reporter, stop, progress)
    ran.run(script_of(task), folder, spec.assignments, spec.seed)
    clock.lap("train")
    best = ran.best
    assert best is not None
    if not folder.is_dir() or not any(folder.iterdir()):
        raise TrialError("the script saved nothing into hpo_pipeline.trial_folder()")
    measured = folder_metrics(folder, clock.seconds["train"])
    if (own := own_measure(task)) is not None:
        measured |= checked_metrics(own(None, folder), "task.measure")
    clock.lap("measure")
    found = {**best.metrics, **measured}
    steps = ran.curve[-1].training_step
    return _result(experiment, spec, ran, found, steps=steps, seconds=clock.seconds)
