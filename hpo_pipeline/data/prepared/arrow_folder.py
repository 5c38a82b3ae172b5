"""Folders of rows as `datasets.load_from_disk` reads them, written batch by batch.

`save_to_disk` copies a whole data set into such a folder; these are written where they stay, also
by several processes at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from hpo_pipeline.data.row_table import RowTable


def file_name(number: int, count: int) -> str:
    """Return the name of one of the files of a folder."""
    return f"data-{number:05d}-of-{count:05d}.arrow"


def write_file(path: Path, schema: pa.Schema, batches: Iterable[Any]) -> int:
    """Write batches or tables of rows to a file and return their number.

    Raises:
        OSError: it cannot be written.
    """
    rows = 0
    with path.open("wb") as stream, pa.ipc.new_stream(stream, schema) as writer:
        for batch in batches:
            writer.write(batch)
            rows += batch.num_rows
    return rows


def finish(folder: Path, schema: pa.Schema, files: Sequence[str], fingerprint: str) -> None:
    """Write what `datasets` wants to know of a folder of such files."""
    from datasets import Features

    features = Features.from_arrow_schema(schema.remove_metadata())
    info = {"citation": "", "description": "", "homepage": "", "license": ""}
    state: dict[str, Any] = {
        "_data_files": [{"filename": name} for name in files],
        "_fingerprint": fingerprint[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    _dump(folder / "dataset_info.json", {**info, "features": features.to_dict()})
    _dump(folder / "state.json", state)


def write_folder(folder: Path, schema: pa.Schema, batches: Iterable[Any], fingerprint: str) -> None:
    """Write a folder with one file of rows.

    Raises:
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / file_name(0, 1), schema, batches)
    finish(folder, schema, [file_name(0, 1)], fingerprint)


def read_folder(folder: Path) -> RowTable:
    """Return the rows of a folder, mapped into memory.

    Raises:
        OSError, pa.ArrowException: it cannot be read.
    """
    tables = []
    for path in sorted(folder.glob("data-*.arrow")):
        with pa.ipc.open_stream(pa.memory_map(str(path))) as reader:
            tables.append(reader.read_all())
    return RowTable(pa.concat_tables(tables))


def _dump(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2), "utf-8")
