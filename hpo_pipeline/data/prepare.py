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

import pyarrow.compute as pc

from hpo_pipeline.data.assets.source import model_source
from hpo_pipeline.data.prepared.arrow_folder import write_folder
from hpo_pipeline.data.prepared.dataset import PROCESSOR_FOLDER, DatasetMeta
from hpo_pipeline.data.prepared.encoding import Encoder, LengthCounts, encode, measure
from hpo_pipeline.data.prepared.variants import (
    FACTS_FILE,
    ROWS_FOLDER,
    described,
    encoding_folder,
    first_variant,
    trained_on,
    variants,
    varied_by,
)
from hpo_pipeline.data.progress import Progress
from hpo_pipeline.data.row_table import Part
from hpo_pipeline.data.sources import read_tables
from hpo_pipeline.data.splitting.splits import Splits, split
from hpo_pipeline.data.tables.by_split import Tables
from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.stopping import rows_in
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.results.files import DATASET_FILE, read_json, write_json
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.tasks.custom import VALIDATION_NOTE

FORMAT = 6
"""Changes whenever the same data and experiment give another content of the folder."""


def prepare(experiment: Experiment, out: Path, progress: Progress | None = None) -> Path:
    """Prepare the data of an experiment below `out` and return their folder.

    Raises:
        DataError: the data or the tokenizer cannot be used; nothing is left behind.
    """
    if not experiment.task.data:
        return _nothing(experiment, out)
    progress = progress or Progress()
    task = experiment.task
    kind = TASKS[task.kind]
    tables = read_tables(task, progress)
    splits = split(tables.tables, task.rows, tables.tallies, form=tables.form, progress=progress)
    varied = varied_by(experiment)
    first = first_variant(experiment)
    train = trained_on(first, splits.tables["train"])
    processor = kind.processor(
        first, model_source(first.model) if first.model else "", train, tables.shape
    )
    meta = _meta(experiment, tables, splits, kind.identity(processor))
    _require_rows(experiment, meta)
    folder = out / f"{experiment.name}-{meta.fingerprint[:16]}"
    if (folder / DATASET_FILE).exists():
        return folder
    draft = out / f".{folder.name}.{os.getpid()}"
    try:
        draft.mkdir(parents=True)
        # A model is measured on these with its own tokenizer, so they stay as they are.
        _write_raw(draft / "test", splits.tables["test"], meta)
        if varied:
            meta = _write_variants(draft, experiment, splits, meta, progress)
        else:
            greatest = task.model_copy(update={"max_length": meta.max_length})
            meta = _write(draft, splits, meta, Encoder(greatest, processor, meta.labels), progress)
        write_json(draft / DATASET_FILE, asdict(meta))
        _move(draft, folder)
    except OSError as error:
        raise DataError(f"{out}: the dataset cannot be written: {error.strerror}") from error
    finally:
        progress.end()
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def _nothing(experiment: Experiment, out: Path) -> Path:
    """Leave a dataset without rows, for a task whose code reads its own."""
    task = experiment.task
    parts = [FORMAT, task.kind, task.data_version, _notes(task)]
    fingerprint = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    meta = DatasetMeta(
        fingerprint=fingerprint,
        kind=task.kind,
        source="read by the training itself",
        data_sha256="",
        labels=[],
        rows={},
        majority=0.0,
        max_length=experiment.max_length(),
        shape=None,
        notes=_notes(task),
        counts={"used": 0},
    )
    folder = out / f"{experiment.name}-{fingerprint[:16]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / DATASET_FILE, asdict(meta))
    except OSError as error:
        raise DataError(f"{out}: the dataset cannot be written: {error.strerror}") from error
    return folder


def _require_rows(experiment: Experiment, meta: DatasetMeta) -> None:
    """Check that the smallest share of the rows on which trials are judged has every label."""
    for share in experiment.chosen_stopping.row_shares[:1]:
        total = meta.rows["train"]
        rows, labels = rows_in(total, share), len(meta.labels)
        if rows < labels:
            raise DataError(
                f"stopping.resource: the smallest share of the {total:,} training rows is "
                f"{rows:,}, fewer than the {labels:,} labels; raise stopping.grace_period, lower "
                f"stopping.max_resource, or use more rows"
            )


def _notes(task: Task) -> list[str]:
    """Return what people should know of a task whose model is not measured on test rows."""
    if TASKS[task.kind].gate_rows(task) == "held-out test rows":
        return []
    return [VALIDATION_NOTE]


def _write(
    draft: Path, splits: Splits, meta: DatasetMeta, encoder: Encoder, progress: Progress
) -> DatasetMeta:
    """Write the only encoding of the training and validation rows."""
    parts = splits.tables
    progress.start("Encoding", sum(len(part) for part in parts.values()))
    kind, counted = TASKS[encoder.task.kind], LengthCounts()
    for name, part in parts.items():
        if name == "test":
            lengths = measure(part, encoder, progress)
        else:
            by_length = name == "validation"
            lengths = encode(part, encoder, draft / name, progress, by_length=by_length)
        counted += LengthCounts.of(lengths, meta.max_length, kind)
    if encoder.processor is not None:
        encoder.processor.save_pretrained(str(draft / PROCESSOR_FOLDER))
    notes = [
        *kind.processor_notes(encoder.task, encoder.processor),
        *counted.notes(kind, meta.max_length, f"of {meta.counts['used']:,} texts"),
    ]
    found = {"at_max_length": counted.full, "nothing_to_learn": counted.idle}
    counts = {**meta.counts, **{name: count for name, count in found.items() if count}}
    return replace(meta, notes=[*meta.notes, *notes], counts=counts)


def _write_variants(
    draft: Path, experiment: Experiment, splits: Splits, meta: DatasetMeta, progress: Progress
) -> DatasetMeta:
    """Write the rows, and an encoding for each tokenizer that is known before the search."""
    for name in ("train", "validation"):
        _write_raw(draft / ROWS_FOLDER / name, splits.tables[name], meta)
    write_json(draft / DATASET_FILE, asdict(meta))
    notes = list(meta.notes)
    for task in variants(experiment):
        folder = encoding_folder(draft, task, progress)
        facts = read_json(folder / FACTS_FILE)
        counted = LengthCounts(facts["at_max_length"], facts["nothing_to_learn"])
        rows = "texts of the training and validation rows"
        found = counted.notes(TASKS[task.kind], meta.max_length, rows)
        notes += [f"With {described(task, meta.varied)}, {note}" for note in found]
    return replace(meta, notes=notes)


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


def _meta(experiment: Experiment, tables: Tables, splits: Splits, identity: str) -> DatasetMeta:
    task = experiment.task
    varied = varied_by(experiment)
    content = {
        "format": FORMAT,
        "kind": task.kind,
        "data": tables.sha256,
        "rows": task.rows.model_dump(),
        "columns": task.columns.model_dump(),
        "max_length": experiment.max_length(),
        "settings": task.settings.model_dump(mode="json"),
        "processor": identity,
        "varied": [experiment.space[f"task.{name}"].model_dump(mode="json") for name in varied],
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
        notes=[*tables.notes, *splits.notes, *_notes(task)],
        counts=splits.counts,
        varied=varied,
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
