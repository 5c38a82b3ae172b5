"""Data sets of the Hugging Face hub."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpo_pipeline.data import assets
from hpo_pipeline.data.columns import picker
from hpo_pipeline.data.folders import split_of
from hpo_pipeline.data.readers.parquet import ARROW_ERRORS
from hpo_pipeline.data.readers.raw_table import MAX_ROWS, RawTable
from hpo_pipeline.data.tables import Tables, tables_from_raw
from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.task import Task


def read_hub(task: Task) -> Tables:
    """Load a data set from the hub; a folder of that name in the current folder is ignored."""
    import datasets

    if Path(task.data).exists():
        raise DataError(
            f"task.data: {task.data!r} is in the current folder, but not beside the experiment "
            f"file, from where names are looked up; write its whole path"
        )
    try:
        found: Any = datasets.load_dataset(task.data)
    except (OSError, ValueError, RuntimeError, *ARROW_ERRORS) as error:
        known = ", ".join(n for n, a in assets.ASSETS.items() if a.kind == "data")
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"task.data: {task.data!r} is not an asset ({known}), no file or folder beside the "
            f"experiment file, and could not be loaded from the hub: {first}"
        ) from error
    raw: dict[str, list[tuple[str, RawTable]]] = {}
    for name in found:
        split = split_of(name)
        if split is None:
            continue
        if split in raw:
            raise DataError(f"task.data: {task.data} has two splits that are {split} rows")
        raw[split] = [(f"{task.data}, {name}", _hub_rows(task, found[name]))]
    if "train" not in raw:
        raise DataError(f"task.data: {task.data} has no split train; it has {', '.join(found)}")
    passed = [name for name in found if split_of(name) is None]
    notes = (f"Splits passed over: {', '.join(passed)}.",) if passed else ()
    read = tables_from_raw(task.columns, raw, f"hub {task.data}", "", notes)
    rows = "".join(table.to_csv(index=False) for table in read.tables.values())
    return replace(read, sha256=hashlib.sha256(rows.encode()).hexdigest())


def _hub_rows(task: Task, split: Any) -> RawTable:
    if len(split) > MAX_ROWS:
        raise DataError(
            f"task.data: {task.data} has {len(split):,} rows, and {MAX_ROWS:,} are allowed"
        )
    wanted, label = picker(task.columns, task.data)(split.column_names)
    names = getattr(split.features.get(label), "names", None)
    columns = split.select_columns([wanted, label]).to_dict()
    return RawTable(
        split.column_names,
        columns[wanted],
        columns[label],
        range(1, len(split) + 1),
        label_names=names,
    )
