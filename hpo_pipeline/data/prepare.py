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

import pyarrow.compute as pc

from hpo_pipeline.data.arrow_folder import write_folder
from hpo_pipeline.data.assets.source import model_source
from hpo_pipeline.data.dataset import PROCESSOR_FOLDER, DatasetMeta
from hpo_pipeline.data.encoding import Encoder, encode, measure
from hpo_pipeline.data.progress import Progress
from hpo_pipeline.data.row_table import Part
from hpo_pipeline.data.sources import read_tables
from hpo_pipeline.data.splits import Splits, split
from hpo_pipeline.data.tables import Tables
from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.files import DATASET_FILE, write_json
from hpo_pipeline.tasks import TASKS

FORMAT = 4
"""Changes whenever the same data and experiment give another content of the folder."""


def prepare(experiment: Experiment, out: Path, progress: Progress | None = None) -> Path:
    """Prepare the data of an experiment below `out` and return their folder.

    Raises:
        DataError: the data or the tokenizer cannot be used; nothing is left behind.
    """
    progress = progress or Progress()
    task = experiment.task
    kind = TASKS[task.kind]
    tables = read_tables(task, progress)
    splits = split(tables.tables, task.rows, tables.tallies, form=tables.form, progress=progress)
    source = model_source(task.model)
    processor = kind.processor(task, source, splits.tables["train"]["input"], tables.shape)
    meta = _meta(experiment, tables, splits, processor)
    folder = out / f"{experiment.name}-{meta.fingerprint[:16]}"
    if (folder / DATASET_FILE).exists():
        return folder
    draft = out / f".{folder.name}.{os.getpid()}"
    try:
        encoder = Encoder(
            task.model_copy(update={"max_length": meta.max_length}), processor, meta.labels
        )
        _write(draft, splits, meta, encoder, progress)
        _move(draft, folder)
    except OSError as error:
        raise DataError(f"{out}: the dataset cannot be written: {error.strerror}") from error
    finally:
        progress.end()
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def _write(
    draft: Path, splits: Splits, meta: DatasetMeta, encoder: Encoder, progress: Progress
) -> None:
    parts = splits.tables
    progress.start("Encoding", sum(len(part) for part in parts.values()))
    draft.mkdir(parents=True)
    full = 0
    for name, part in parts.items():
        if name == "test":
            # A model is measured on these with its own tokenizer, so they stay as they are.
            _write_raw(draft / name, part, meta)
            lengths = measure(part, encoder, progress)
        else:
            by_length = name == "validation"
            lengths = encode(part, encoder, draft / name, progress, by_length=by_length)
        full += int((lengths >= meta.max_length).sum())
    if encoder.processor is not None:
        encoder.processor.save_pretrained(str(draft / PROCESSOR_FOLDER))
    if full:
        text = (
            f"{full:,} of {meta.counts['used']:,} texts have {meta.max_length} tokens or more; "
            f"what exceeds them is cut (task.max_length)."
        )
        counts = {**meta.counts, "at_max_length": full}
        meta = replace(meta, notes=[*meta.notes, text], counts=counts)
    write_json(draft / DATASET_FILE, asdict(meta))


def _write_raw(folder: Path, part: Part, meta: DatasetMeta) -> None:
    names = [name for name in ("input", "label") if name in part.rows.names]
    schema = part.rows.table.select(names).schema
    write_folder(folder, schema, part.batches(names=names), meta.fingerprint)


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
    return DatasetMeta(
        fingerprint=fingerprint,
        kind=task.kind,
        source=tables.source,
        data_sha256=tables.sha256,
        labels=_names(experiment, splits.tables["train"]),
        rows={name: len(table) for name, table in splits.tables.items()},
        majority=_majority(splits.tables["test"], tables),
        max_length=experiment.max_length(),
        shape=list(tables.shape) if tables.shape else None,
        notes=[*tables.notes, *splits.notes],
        counts=splits.counts,
    )


def _names(experiment: Experiment, train: Part) -> list[str]:
    """Return the labels of the data in order, as the kind of task has them."""
    kind = TASKS[experiment.task.kind]
    form = kind.form(experiment.task)
    if form.label is None:
        return kind.names(experiment.task, ())
    if form.label != "class":
        return kind.names(experiment.task, train["label"])
    different: dict[str, None] = {}
    for batch in train.batches(names=["label"]):
        different |= dict.fromkeys(pc.unique(batch.column(0)).to_pylist())
    return kind.names(experiment.task, different)


def _majority(test: Part, tables: Tables) -> float:
    """Return the share of the most frequent class; 0 where labels are no classes."""
    if tables.form.label != "class":
        return 0.0
    taken = test.rows.table.select(["label"]).take(test.index).column(0)
    most = max(entry["counts"] for entry in taken.value_counts().to_pylist())
    return float(most / len(test))
