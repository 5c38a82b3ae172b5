"""What a trial begins with, the rows, the arguments and the model, and what it leaves."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Dataset, load_from_disk
from transformers import TrainingArguments

from hpo_pipeline.data.assets.source import model_source
from hpo_pipeline.data.prepared.dataset import PROCESSOR_FOLDER, DatasetMeta
from hpo_pipeline.data.prepared.variants import encoding_folder
from hpo_pipeline.errors import DataError, TrialError
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.tasks.kind import Collate
from hpo_pipeline.trial.measuring.practical_metrics import Forward
from hpo_pipeline.trial.model.build import build_model, config_overrides, freeze
from hpo_pipeline.trial.model.lora import merged, with_adapters

ROWS_IN_MEMORY = 20_000
DEFAULTS: dict[str, Any] = {
    "eval_strategy": "epoch",
    "logging_strategy": "epoch",
    "per_device_eval_batch_size": 64,
    "dataloader_pin_memory": False,
}


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
    encoded = encoding_folder(dataset, task)
    processor = kind.load_processor(encoded / PROCESSOR_FOLDER)
    return Data(
        meta=meta,
        train=load_rows(encoded / "train"),
        validation=load_rows(encoded / "validation"),
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
    return rows.to_list() if len(rows) <= ROWS_IN_MEMORY else rows


def training_arguments(task: Task, output: Path, seed: int) -> TrainingArguments:
    """Return the arguments of a trial: ours over those of the task, over the defaults."""
    own = {**own_arguments(task, output, seed), "remove_unused_columns": False}
    try:
        arguments = TrainingArguments(**own)
    except (ValueError, TypeError) as error:
        raise TrialError(f"the training arguments were refused: {error}") from error
    if str(arguments.eval_strategy) in ("no", "IntervalStrategy.NO"):
        raise TrialError("eval_strategy is no, and a trial must evaluate")
    return arguments


def own_arguments(
    task: Task, output: Path, seed: int, known: Collection[str] | None = None
) -> dict[str, Any]:
    """Return the fields of training arguments: ours over those of the task, over the defaults.

    Args:
        known: fields that there are; others are left out.
    """
    own = {
        "output_dir": str(output),
        "save_strategy": "no",  # the end of an interval asks for a checkpoint by itself
        "save_only_model": False,
        "report_to": "none",
        "disable_tqdm": True,
        "seed": seed,
        "log_level": "error",
    }
    found = {**DEFAULTS, **task.training, **own}
    return {name: value for name, value in found.items() if known is None or name in known}


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
