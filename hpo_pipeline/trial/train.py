"""One trial from its data to its result: load, train, measure, save.

transformers.Trainer is used as it is; callback.py reports and remembers, practical.py measures.
"""

from __future__ import annotations

import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import torch
import transformers
from datasets import Dataset, load_from_disk
from transformers import PrinterCallback, Trainer, TrainingArguments

from hpo_pipeline.data.assets.source import model_source
from hpo_pipeline.data.dataset import PROCESSOR_FOLDER, DatasetMeta
from hpo_pipeline.errors import DataError, TrialError
from hpo_pipeline.experiment.metrics import PRACTICAL_METRICS
from hpo_pipeline.experiment.objective import with_score
from hpo_pipeline.experiment.population import population
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.space import Value, section
from hpo_pipeline.results.files import CHECKPOINT_FOLDER, MODEL_FOLDER, TRAINER_FOLDER
from hpo_pipeline.results.trial import Point, Trial, TrialState
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.trial.callback import Progress, TrialCallback
from hpo_pipeline.trial.models import build_model, config_overrides, freeze
from hpo_pipeline.trial.pbt_interval import IntervalCallback, Parent, read_parent
from hpo_pipeline.trial.practical_metrics import Finished, measure
from hpo_pipeline.trial.reporting import Reporter

ROWS_IN_MEMORY = 20_000
DEFAULTS: dict[str, Any] = {
    "eval_strategy": "epoch",
    "logging_strategy": "epoch",
    "per_device_eval_batch_size": 64,
    "dataloader_pin_memory": False,
}


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
    weights, the order of the rows and the dropout.
    """

    name: str
    number: int
    assignments: dict[str, Value]
    dataset: Path
    folder: Path
    seed: int
    resume: Path | None = None


def run_trial(
    experiment: Experiment,
    spec: TrialSpec,
    *,
    reporter: Reporter,
    stop_asked: Callable[[], bool],
    progress: Progress,
) -> Trial:
    """Train one configuration and return its result; the model is in the trial's folder.

    Raises:
        TrialError: the configuration gives no result; the message says why.
    """
    clock = Clock()
    parent = read_parent(spec.resume) if spec.resume else None
    members = population(experiment)
    interval = IntervalCallback(members, spec.number) if members else None
    data = load_data(experiment, spec)
    arguments = training_arguments(experiment, spec)
    transformers.set_seed(arguments.seed)
    model = load_model(experiment, spec, data)
    practical = _PracticalOnce(experiment, data)
    callback = TrialCallback(
        experiment.objective,
        reporter,
        measure=practical,
        stop_asked=stop_asked,
        progress=progress,
        earlier=parent.evaluations if parent else 0,
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        data_collator=data.collate,
        train_dataset=data.train,
        eval_dataset=data.validation,
        compute_metrics=data.metrics,
        callbacks=[interval, callback] if interval else [callback],
        preprocess_logits_for_metrics=_logits_alone,
    )
    trainer.remove_callback(PrinterCallback)  # it writes metrics to stdout in a form of its own
    clock.lap("load")
    if parent and interval:
        interval.override(trainer.create_optimizer())
    _train(trainer, callback, parent)
    best = _best(callback)
    clock.lap("train")
    clock.seconds["evaluate"] = callback.evaluate_seconds
    clock.seconds["train"] -= callback.evaluate_seconds
    if callback.best_weights is not None:
        model.load_state_dict(callback.best_weights)
    saved = spec.folder / MODEL_FOLDER
    save_model(model, data, saved)
    shutil.rmtree(spec.folder / TRAINER_FOLDER, ignore_errors=True)
    clock.lap("save")
    measured = measure(
        Finished(model, data.validation, data.collate, saved, lambda: clock.seconds["train"])
    )
    clock.lap("measure")
    metrics = {**best.metrics, **measured}
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
        environment=environment(),
    )


@dataclass(frozen=True)
class Data:
    """The rows of a trial, and how they become batches and metrics."""

    meta: DatasetMeta
    train: Any
    validation: Any
    processor: Any
    collate: Callable[[list[dict[str, Any]]], dict[str, Any]]
    metrics: Callable[[Any], dict[str, float]]


def load_data(experiment: Experiment, spec: TrialSpec) -> Data:
    """Open the training and validation rows of a prepared dataset; never the test rows."""
    meta = DatasetMeta.read(spec.dataset)
    task = experiment.task
    kind = TASKS[task.kind]
    processor = kind.inputs.load_processor(spec.dataset / PROCESSOR_FOLDER)
    max_length = int(spec.assignments.get("task.max_length", task.max_length))
    shape = tuple(meta.shape) if meta.shape else None
    return Data(
        meta=meta,
        train=load_rows(spec.dataset / "train"),
        validation=load_rows(spec.dataset / "validation"),
        processor=processor,
        collate=kind.inputs.collator(processor, max_length, shape),  # type: ignore[arg-type]
        metrics=lambda predicted: kind.targets.measure(
            np.asarray(predicted.predictions), predicted.label_ids, task.metrics
        ),
    )


def load_rows(folder: Path) -> Any:
    """Return the rows of a split: a list where they are few, which is faster, else Arrow."""
    try:
        rows = load_from_disk(str(folder))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: is not a prepared split ({error})") from error
    assert isinstance(rows, Dataset)
    rows = rows.remove_columns("input")
    return rows.to_list() if len(rows) <= ROWS_IN_MEMORY else rows


def training_arguments(experiment: Experiment, spec: TrialSpec) -> TrainingArguments:
    """Return the arguments of a trial: ours, then the file's fixed ones, then the searched."""
    # The Trainer makes this folder though nothing is written there without a population.
    output = CHECKPOINT_FOLDER if population(experiment) else TRAINER_FOLDER
    own = {
        "output_dir": str(spec.folder / output),
        "save_strategy": "no",  # the end of an interval asks for a checkpoint by itself
        "save_only_model": False,
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "seed": spec.seed,
        "log_level": "error",
    }
    chosen = {**DEFAULTS, **experiment.task.training, **section(spec.assignments, "")}
    try:
        arguments = TrainingArguments(**{**chosen, **own})
    except (ValueError, TypeError) as error:
        raise TrialError(f"the training arguments were refused: {error}") from error
    if str(arguments.eval_strategy) in ("no", "IntervalStrategy.NO"):
        raise TrialError("eval_strategy is no, and a trial must evaluate")
    return arguments


def load_model(experiment: Experiment, spec: TrialSpec, data: Data) -> Any:
    """Return the model of a trial before its first step."""
    task = experiment.task
    shape = tuple(data.meta.shape) if data.meta.shape else None
    kind = TASKS[task.kind]
    derived = kind.inputs.config_fields(data.processor, shape)  # type: ignore[arg-type]
    named = kind.targets.config_fields(data.meta.labels)
    overrides = config_overrides(task, named, derived, spec.assignments)
    model = build_model(task, model_source(task.model), overrides)
    freeze(model, str(spec.assignments.get("task.freeze", task.freeze)))
    return model


def save_model(model: Any, data: Data, folder: Path) -> None:
    """Write weights (safetensors), config and tokenizer."""
    model.save_pretrained(str(folder))
    if data.processor is not None:
        data.processor.save_pretrained(str(folder))


def environment() -> dict[str, str]:
    """Return the versions of what computed the result, and on what."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "accelerate": accelerate.__version__,
        "device": device,
        "threads": str(torch.get_num_threads()),
    }


def _train(trainer: Trainer, callback: TrialCallback, parent: Parent | None) -> None:
    rows, batch = len(trainer.train_dataset), trainer.args.train_batch_size
    if trainer.args.dataloader_drop_last and rows < batch:
        raise TrialError(
            f"the training has no step: dataloader_drop_last leaves out its only batch, which has "
            f"{rows} of {batch} rows"
        )
    try:
        trainer.train(resume_from_checkpoint=str(parent.checkpoint) if parent else None)
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


def _logits_alone(outputs: Any, labels: Any) -> Any:
    """Return the logits of a batch: what else a model gives need not be kept for all rows."""
    return outputs[0] if isinstance(outputs, tuple) else outputs


class _PracticalOnce:
    """Practical metrics for the curve, where objective or constraints read them.

    Latency and throughput hardly change during training, so one measurement serves all
    evaluations; those of the result are measured on the finished model.
    """

    def __init__(self, experiment: Experiment, data: Data) -> None:
        self._wanted = experiment.reads & set(PRACTICAL_METRICS)
        self._data = data
        self._finished: Finished | None = None
        self._start = time.perf_counter()

    def __call__(self, model: Any) -> dict[str, float]:
        if not self._wanted:
            return {}
        if self._finished is None:
            self._finished = Finished(
                model,
                self._data.validation,
                self._data.collate,
                train_seconds=lambda: time.perf_counter() - self._start,
            )
        return measure(self._finished)
