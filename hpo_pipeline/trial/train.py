"""One trial from its data to its result: load, train, measure, save.

transformers.Trainer is used as it is; callback.py reports and remembers, practical.py measures.
"""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import shutil
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import accelerate
import torch
import transformers
from transformers import PrinterCallback, Trainer

from hpo_pipeline.data.dataset import DatasetMeta
from hpo_pipeline.data.storage import UriStorage
from hpo_pipeline.errors import TrialError
from hpo_pipeline.experiment.metrics import PRACTICAL_METRICS
from hpo_pipeline.experiment.objective import with_score
from hpo_pipeline.experiment.population import population
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.serve import Serve
from hpo_pipeline.experiment.space import Value
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.results.files import CHECKPOINT_FOLDER, MODEL_FOLDER, TRAINER_FOLDER
from hpo_pipeline.results.trial import Point, Trial, TrialState
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.tasks.kind import Loaded, TaskKind
from hpo_pipeline.trial.artefact.build import Artefact, build_artefact
from hpo_pipeline.trial.callback import Progress, TrialCallback
from hpo_pipeline.trial.checkpoint_callback import CheckpointCallback, Resume
from hpo_pipeline.trial.checkpoints import Checkpoints, Saved
from hpo_pipeline.trial.loading import (
    Data,
    finished_model,
    load_data,
    load_model,
    save_model,
    training_arguments,
)
from hpo_pipeline.trial.pbt_interval import IntervalCallback, read_parent
from hpo_pipeline.trial.practical_metrics import Finished, measure
from hpo_pipeline.trial.reporting import Reporter
from hpo_pipeline.trial.stop_request import StopRequest
from hpo_pipeline.trial.training_state import restore_weights

logger = logging.getLogger(__name__)


@dataclass
class Clock:
    """Wall seconds by phase."""

    seconds: dict[str, float] = field(default_factory=dict)
    last: float = field(default_factory=time.perf_counter)

    def lap(self, phase: str) -> None:
        """Add the time since the last lap to a phase."""
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self.last
        self.last = now


@dataclass(frozen=True)
class TrialSpec:
    """What one trial runs on: `folder` gets its model, `dataset` is a prepared one.

    `resume` is the folder of the trial from whose checkpoint it resumes; `seed` decides the new
    weights, the order of the rows and the dropout; `storage` takes copies of its own checkpoints.
    """

    name: str
    number: int
    assignments: dict[str, Value]
    dataset: Path
    folder: Path
    seed: int
    resume: Path | None = None
    storage: UriStorage | None = None


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
    resume = _resume(experiment, spec, stop)
    saved = resume.saved if resume else None
    clock = Clock(dict(saved.record.seconds) if saved else {})
    parent = read_parent(spec.resume) if spec.resume else None
    members = population(experiment)
    interval = IntervalCallback(members, spec.number) if members else None
    task = experiment.task.assigned(spec.assignments)
    serve = experiment.serve.assigned(spec.assignments)
    kind = TASKS[task.kind]
    data = load_data(task, spec.dataset)
    # The Trainer makes this folder though nothing may be written there.
    output = spec.folder / (TRAINER_FOLDER if members is None else CHECKPOINT_FOLDER)
    arguments = training_arguments(task, output, spec.seed)
    transformers.set_seed(arguments.seed)
    model = load_model(task, data)
    practical = _PracticalOnce(experiment.reads, data, earlier=clock.seconds.get("train", 0.0))
    callback = TrialCallback(
        experiment.objective,
        reporter,
        measure=practical,
        stop_asked=stop.is_asked,
        progress=progress,
        earlier=parent.evaluations if parent else 0,
    )
    trainer = kind.trainer(
        task,
        model=model,
        args=arguments,
        data_collator=data.collate,
        train_dataset=data.train,
        eval_dataset=data.validation,
        compute_metrics=kind.compute_metrics(task, data.processor, data.meta.labels),
        callbacks=[interval, callback] if interval else [callback],
        preprocess_logits_for_metrics=kind.reduced_logits,
    )
    trainer.remove_callback(PrinterCallback)  # it writes metrics to stdout in a form of its own
    clock.lap("load")
    saving = None
    if resume is not None:
        saving = CheckpointCallback(
            resume,
            callback,
            scaler=lambda: getattr(trainer.accelerator, "scaler", None),
            spent=lambda: _spent(clock, callback, saving),
            environment=environment(saved),
        )
        trainer.add_callback(saving)
    if parent and interval and saved is None:
        interval.override(trainer.create_optimizer())
    start = saved.folder if saved else parent.checkpoint if parent else None
    _train(trainer, callback, start)
    best = _best(callback)
    clock = Clock(_spent(clock, callback, saving))
    if callback.best_weights is not None:
        restore_weights(model, callback.best_weights)
    folder = spec.folder / MODEL_FOLDER
    model = finished_model(task, data, model, folder)
    save_model(model, data, folder)
    shutil.rmtree(spec.folder / TRAINER_FOLDER, ignore_errors=True)
    clock.lap("save")
    served, quality = _served(serve, kind, task, model, data, folder)
    clock.lap("export")
    measured = measure(
        Finished(
            model,
            data.validation,
            data.collate,
            folder,
            lambda: clock.seconds["train"],
            forward=data.forward,
            served=served,
            serve=serve,
        )
    )
    clock.lap("measure")
    metrics = {**best.metrics, **quality, **measured}
    return Trial(
        name=spec.name,
        number=spec.number,
        state=TrialState.STOPPED if callback.is_stopped else TrialState.SUCCEEDED,
        assignments=spec.assignments,
        metrics=with_score(metrics, experiment.objective),
        curve=tuple(callback.curve),
        best_step=best.step,
        training_steps=trainer.state.global_step,
        seconds=clock.seconds,
        parent=parent.number if parent else None,
        environment=environment(saved),
    )


def _served(
    serve: Serve, kind: TaskKind, task: Task, model: Any, data: Data, folder: Path
) -> tuple[Artefact | None, dict[str, float]]:
    """Make the artefact that is served, and return it with the metrics that it reaches.

    Where the trained model is served as it is, its own metrics hold.
    """
    if serve.is_plain:
        return None, {}
    model.eval()
    rows, threads = data.validation, torch.get_num_threads()
    served = build_artefact(model, serve, folder, rows, data.collate, threads)
    loaded = Loaded(served.model, data.processor, rows, data.collate, data.meta.labels)
    return served, kind.evaluate(task, loaded).metrics


def environment(saved: Saved | None = None) -> dict[str, str]:
    """Return the versions of what computed the result, and on what.

    A trial that resumed may have been computed on several devices, which are all named.
    """
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    found = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "accelerate": accelerate.__version__,
        "device": device,
        "threads": str(torch.get_num_threads()),
    }
    for name, before in saved.record.environment.items() if saved else ():
        if found.get(name, before) not in before.split(", "):
            found[name] = f"{before}, {found[name]}"
    return found


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
    ]
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    store = Checkpoints(spec.folder, key, spec.storage)
    saved = store.newest()
    if saved is not None:
        logger.info("resuming from the checkpoint at step %d", saved.record.step)
    return Resume(every, store, stop, saved)


def _spent(
    clock: Clock, callback: TrialCallback, saving: CheckpointCallback | None
) -> dict[str, float]:
    """Return the wall time by phase up to now, where the training is the phase."""
    parts = {"evaluate": callback.evaluate_seconds, "save": saving.seconds if saving else 0.0}
    parts["train"] = time.perf_counter() - clock.last - sum(parts.values())
    return clock.seconds | {n: clock.seconds.get(n, 0.0) + s for n, s in parts.items()}


def _train(trainer: Trainer, callback: TrialCallback, start: Path | None) -> None:
    rows, batch = len(trainer.train_dataset), trainer.args.train_batch_size
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


class _PracticalOnce:
    """Practical metrics for the curve, where objective or constraints read them.

    Latency and throughput hardly change during training, so one measurement serves all
    evaluations; those of the result are measured on the finished model.
    """

    def __init__(self, reads: frozenset[str], data: Data, *, earlier: float) -> None:
        self._wanted = reads & set(PRACTICAL_METRICS)
        self._data = data
        self._finished: Finished | None = None
        self._start = time.perf_counter() - earlier

    def __call__(self, model: Any) -> dict[str, float]:
        if not self._wanted:
            return {}
        if self._finished is None:
            self._finished = Finished(
                model,
                self._data.validation,
                self._data.collate,
                train_seconds=lambda: time.perf_counter() - self._start,
                forward=self._data.forward,
            )
        return measure(self._finished)
