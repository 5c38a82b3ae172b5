"""One trial from its data to its result: load, train, measure, save.

transformers.Trainer is used as it is; callback.py reports and remembers, practical.py measures.
"""

from __future__ import annotations

import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import accelerate
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
from hpo_pipeline.experiment.space import Value
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.results.files import CHECKPOINT_FOLDER, MODEL_FOLDER, TRAINER_FOLDER
from hpo_pipeline.results.trial import Point, Trial, TrialState
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.tasks.kind import Collate
from hpo_pipeline.trial.callback import Progress, TrialCallback
from hpo_pipeline.trial.lora import merged, with_adapters
from hpo_pipeline.trial.models import build_model, config_overrides, freeze
from hpo_pipeline.trial.pbt_interval import IntervalCallback, Parent, read_parent
from hpo_pipeline.trial.practical_metrics import Finished, Forward, measure
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
    task = experiment.task.assigned(spec.assignments)
    kind = TASKS[task.kind]
    data = load_data(task, spec.dataset)
    arguments = training_arguments(task, spec, keeps_checkpoints=members is not None)
    transformers.set_seed(arguments.seed)
    model = load_model(task, data)
    practical = _PracticalOnce(experiment.reads, data)
    callback = TrialCallback(
        experiment.objective,
        reporter,
        measure=practical,
        stop_asked=stop_asked,
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
    if parent and interval:
        interval.override(trainer.create_optimizer())
    _train(trainer, callback, parent)
    best = _best(callback)
    clock.lap("train")
    clock.seconds["evaluate"] = callback.evaluate_seconds
    clock.seconds["train"] -= callback.evaluate_seconds
    if callback.best_weights is not None:
        model.load_state_dict(callback.best_weights, strict=False)  # frozen ones are not in it
    saved = spec.folder / MODEL_FOLDER
    model = finished_model(task, data, model, saved)
    save_model(model, data, saved)
    shutil.rmtree(spec.folder / TRAINER_FOLDER, ignore_errors=True)
    clock.lap("save")
    measured = measure(
        Finished(
            model,
            data.validation,
            data.collate,
            saved,
            lambda: clock.seconds["train"],
            forward=data.forward,
        )
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
    """The rows of a trial, how they become batches, and how a deployed model would take one."""

    meta: DatasetMeta
    train: Any
    validation: Any
    processor: Any
    collate: Collate
    forward: Forward


def load_data(task: Task, dataset: Path) -> Data:
    """Open the training and validation rows of a prepared dataset; never the test rows."""
    meta = DatasetMeta.read(dataset)
    kind = TASKS[task.kind]
    processor = kind.load_processor(dataset / PROCESSOR_FOLDER)
    return Data(
        meta=meta,
        train=load_rows(dataset / "train"),
        validation=load_rows(dataset / "validation"),
        processor=processor,
        collate=kind.collator(task, processor, meta.image_shape),
        forward=partial(kind.forward, task),
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


def training_arguments(
    task: Task, spec: TrialSpec, *, keeps_checkpoints: bool
) -> TrainingArguments:
    """Return the arguments of a trial: ours over those of the task, over the defaults."""
    # The Trainer makes this folder though nothing may be written there.
    output = CHECKPOINT_FOLDER if keeps_checkpoints else TRAINER_FOLDER
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
    try:
        arguments = TrainingArguments(**{**DEFAULTS, **task.training, **own})
    except (ValueError, TypeError) as error:
        raise TrialError(f"the training arguments were refused: {error}") from error
    if str(arguments.eval_strategy) in ("no", "IntervalStrategy.NO"):
        raise TrialError("eval_strategy is no, and a trial must evaluate")
    return arguments


def load_model(task: Task, data: Data) -> Any:
    """Return the model of a trial before its first step."""
    kind = TASKS[task.kind]
    derived = kind.config_fields(task, data.processor, data.meta.image_shape)
    overrides = config_overrides(task, kind.label_fields(task, data.meta.labels), derived)
    built = build_model(task, model_source(task.model), overrides, quantize=task.quantize)
    if task.lora is not None:
        return with_adapters(built.model, task.lora, built.whole)
    freeze(built.model, task.freeze)
    return built.model


def finished_model(task: Task, data: Data, model: Any, folder: Path) -> Any:
    """Return the model as it is deployed: with its adapters, which are written too, merged."""
    if task.lora is None:
        return model
    base = None
    if task.quantize is not None:
        base = load_model(task.model_copy(update={"lora": None, "quantize": None}), data)
    return merged(model, folder, base)


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


class _PracticalOnce:
    """Practical metrics for the curve, where objective or constraints read them.

    Latency and throughput hardly change during training, so one measurement serves all
    evaluations; those of the result are measured on the finished model.
    """

    def __init__(self, reads: frozenset[str], data: Data) -> None:
        self._wanted = reads & set(PRACTICAL_METRICS)
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
                forward=self._data.forward,
            )
        return measure(self._finished)
