"""The prepare stage: data are read, split and tokenised once, and written as Arrow.

The folder is named by a fingerprint of everything that went in, so a second run finds and reuses
it. The test rows are in a folder of their own that no trial opens.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import datasets

from hpo_pipeline.data.assets.source import model_source
from hpo_pipeline.data.dataset import PROCESSOR_FOLDER, DatasetMeta
from hpo_pipeline.data.sources import read_tables
from hpo_pipeline.data.splits import Splits, split
from hpo_pipeline.data.tables import Tables
from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.files import DATASET_FILE, write_json
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.tasks.kind import rows_of

FORMAT = 3
"""Changes whenever the same data and experiment give another content of the folder."""


def prepare(experiment: Experiment, out: Path) -> Path:
    """Prepare the data of an experiment below `out` and return their folder.

    Raises:
        DataError: the data or the tokenizer cannot be used; nothing is left behind.
    """
    tables = read_tables(experiment.task)
    splits = split(tables.tables, experiment.task.rows, tables.tallies)
    source = model_source(experiment.task.model)
    kind = TASKS[experiment.task.kind]
    inputs = list(splits.tables["train"]["input"])
    processor = kind.processor(experiment.task, source, inputs, tables.shape)
    meta = _meta(experiment, tables, splits, processor)
    folder = out / f"{experiment.name}-{meta.fingerprint[:16]}"
    if (folder / DATASET_FILE).exists():
        return folder
    draft = out / f".{folder.name}.{os.getpid()}"
    try:
        _write(draft, experiment, splits, meta, processor)
        _move(draft, folder)
    except OSError as error:
        raise DataError(f"{out}: the dataset cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def _write(
    draft: Path, experiment: Experiment, splits: Splits, meta: DatasetMeta, processor: Any
) -> None:
    kind = TASKS[experiment.task.kind]
    task = experiment.task.model_copy(update={"max_length": meta.max_length})
    full = 0
    for name, table in splits.tables.items():
        batch = {column: list(table[column]) for column in ("input", "label")}
        encoded = {**kind.encode(task, batch, processor, meta.labels), "input": batch["input"]}
        content = rows_of(encoded)
        full += sum(kind.length(row) >= meta.max_length for row in content)
        if name == "validation":
            # Rows of one length side by side need next to no padding when evaluated.
            content.sort(key=kind.length)
        elif name == "test":
            # A model is measured on these with its own tokenizer, so they stay as they are.
            content = rows_of(batch)
        datasets.disable_progress_bars()
        datasets.Dataset.from_list(content).save_to_disk(str(draft / name))
    if processor is not None:
        processor.save_pretrained(str(draft / PROCESSOR_FOLDER))
    if full:
        text = (
            f"{full:,} of {meta.counts['used']:,} texts have {meta.max_length} tokens or more; "
            f"what exceeds them is cut (task.max_length)."
        )
        counts = {**meta.counts, "at_max_length": full}
        meta = replace(meta, notes=[*meta.notes, text], counts=counts)
    write_json(draft / DATASET_FILE, asdict(meta))


def _move(draft: Path, folder: Path) -> None:
    try:
        draft.rename(folder)
    except OSError:
        if not (folder / DATASET_FILE).exists():  # else another process was faster: same content
            raise


def _meta(experiment: Experiment, tables: Tables, splits: Splits, processor: Any) -> DatasetMeta:
    task, kind = experiment.task, TASKS[experiment.task.kind]
    content = {
        "format": FORMAT,
        "kind": task.kind,
        "data": tables.sha256,
        "rows": task.rows.model_dump(),
        "columns": task.columns.model_dump(),
        "max_length": experiment.max_length(),
        "processor": kind.identity(processor),
        "shape": tables.shape,
    }
    fingerprint = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    test = splits.tables["test"]["label"]
    return DatasetMeta(
        fingerprint=fingerprint,
        kind=task.kind,
        source=tables.source,
        data_sha256=tables.sha256,
        labels=kind.names(task, splits.tables["train"]["label"]),
        rows={name: len(table) for name, table in splits.tables.items()},
        majority=float(test.value_counts(normalize=True).max()),
        max_length=experiment.max_length(),
        shape=list(tables.shape) if tables.shape else None,
        notes=[*tables.notes, *splits.notes],
        counts=splits.counts,
    )
