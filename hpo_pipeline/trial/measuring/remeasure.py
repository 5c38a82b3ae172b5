"""Measuring a model folder again, anywhere: `hpo measure`.

Nothing but the folder is needed: its requests are as long as those of the data it was measured on,
or as long as the texts of a file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import torch
import transformers

from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.metrics import PRACTICAL_METRICS
from hpo_pipeline.experiment.serve import PLAIN, Serve
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.tasks.kind import Row
from hpo_pipeline.trial.answering.finished import load_model
from hpo_pipeline.trial.answering.predictor import Reading, task_of
from hpo_pipeline.trial.artefact.build import open_artefact
from hpo_pipeline.trial.artefact.record import Record, read_record
from hpo_pipeline.trial.environment import measured_on
from hpo_pipeline.trial.measuring.fresh_processes import Spare
from hpo_pipeline.trial.measuring.practical_metrics import Finished, Measured, measure
from hpo_pipeline.trial.measuring.purpose import LATENCIES, Purpose
from hpo_pipeline.trial.measuring.timing import Subject, spare_for

MEASURED = (*LATENCIES, "throughput_per_s", "energy_j", "model_size_mb", "parameters_m")
"""What belongs to a model alone, and not to the process that measures it."""
PURPOSE = Purpose(frozenset(LATENCIES))
MAX_TEXTS = 100_000


@dataclass(frozen=True)
class Remeasured:
    """One artefact of a folder, as it was measured here."""

    serve: Serve
    found: Measured
    machine: dict[str, str]


def remeasure(
    folder: Path, *, texts: Sequence[str] = (), **changes: int | tuple[int, int] | None
) -> list[Remeasured]:
    """Measure what is served of a folder, and the model of PyTorch beside it.

    Args:
        texts: requests; without them, requests have the lengths that the folder tells.
        changes: `threads`, `batch` and `lengths` in place of those of the folder.

    Raises:
        DataError: the folder holds no model, or one that cannot be measured by itself.
    """
    task, record = task_of(folder, Reading()), read_record(folder)
    if not TASKS[task.kind].exports:
        raise DataError(
            f"{folder}: models of {task.kind} run in many passes, whose number depends on the "
            f"request; a run measures them on its rows"
        )
    with spare_for(PURPOSE, [record], task, folder) as spare:
        return _remeasured(task, folder, record, texts, changes, spare)


def _remeasured(
    task: Task,
    folder: Path,
    record: Record,
    texts: Sequence[str],
    changes: Mapping[str, int | tuple[int, int] | None],
    spare: Spare | None,
) -> list[Remeasured]:
    model = load_model(task, folder).to("cuda" if torch.cuda.is_available() else "cpu").eval()
    changed = {name: value for name, value in changes.items() if value is not None}
    rows = _rows(folder, model, record, texts)
    served = Serve.model_validate({**_served(record), **changed})
    ways = [served] if served.is_plain else [served, served.model_copy(update=_PLAIN)]
    return [
        _measured(Subject(task, folder, way, _threads(way)), model, rows, spare) for way in ways
    ]


def read_texts(file: Path) -> list[str]:
    """Return the texts of a file: one a line, or the field `input` or `text` of JSON lines.

    Raises:
        DataError: it cannot be read, or has no text.
    """
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read as text ({error})") from error
    lines = [line for line in lines if line.strip()][:MAX_TEXTS]
    texts = [_text_of(line, file) for line in lines] if file.suffix == ".jsonl" else lines
    if not texts:
        raise DataError(f"{file}: has no text; give one a line, or JSON lines with `text`")
    return texts


_PLAIN = {"format": PLAIN.format, "quantize": PLAIN.quantize, "max_drift": None}


def _served(record: Record) -> dict[str, Any]:
    return {name: getattr(record, name) for name in Serve.model_fields}


def _threads(serve: Serve) -> int:
    return serve.threads or torch.get_num_threads()


def _measured(subject: Subject, model: Any, rows: list[Row], spare: Spare | None) -> Remeasured:
    serve, folder = subject.serve, subject.folder
    finished = Finished(
        model,
        rows,
        partial(_padded, has_types="token_type_ids" in signature(model.forward).parameters),
        folder,
        served=open_artefact(model, serve, folder, subject.threads),
        serve=serve,
        purpose=PURPOSE,
        spare=spare,
        task=subject.task,
    )
    found = measure(finished, {name: PRACTICAL_METRICS[name] for name in MEASURED})
    return Remeasured(serve, found, measured_on(serve, found.interrupted, found.processes))


def _rows(folder: Path, model: Any, record: Record, texts: Sequence[str]) -> list[Row]:
    config = model.config
    if model.main_input_name == "pixel_values":
        size = config.image_size
        height, width = size if isinstance(size, list | tuple) else (size, size)
        return [{"pixel_values": torch.rand(config.num_channels, height, width)}]
    if texts:
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
        length = record.max_length or tokenizer.model_max_length
        return [
            {"input_ids": ids}
            for ids in tokenizer(list(texts), truncation=True, max_length=length)["input_ids"]
        ]
    lengths = record.request_lengths or record.lengths
    if not lengths:
        raise DataError(
            f"{folder}: does not tell how long its requests are, as models of earlier versions; "
            f"give texts with --rows, or --lengths"
        )
    some = max(2, config.vocab_size // 2)  # any token takes the same time
    return [{"input_ids": [1 + (7 * i) % (some - 1) for i in range(n)]} for n in lengths]


def _padded(rows: list[Row], *, has_types: bool) -> dict[str, Any]:
    """Return a batch; an exported graph wants the types of tokens where its model takes them."""
    if "pixel_values" in rows[0]:
        return {"pixel_values": torch.stack([row["pixel_values"] for row in rows])}
    longest = max(len(row["input_ids"]) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        count = len(row["input_ids"])
        ids[i, :count], mask[i, :count] = torch.tensor(row["input_ids"]), 1
    types = {"token_type_ids": torch.zeros_like(ids)} if has_types else {}
    return {"input_ids": ids, "attention_mask": mask, **types}


def _text_of(line: str, file: Path) -> str:
    try:
        row = json.loads(line)
        text = row.get("input", row.get("text")) if isinstance(row, dict) else None
    except ValueError:
        text = None
    if not isinstance(text, str):
        raise DataError(f"{file}: each line must be an object with a text `input` or `text`")
    return text
