"""Parquet: only the two wanted columns are read, and their size is known before they are unpacked.

A dictionary-encoded column of a small file may hold gigabytes of repeated text. It is read as a
dictionary and indices, so that equal texts are one Python object.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hpo_pipeline.data.readers.raw_table import MAX_BYTES, Pick, RawTable, check_rows

ARROW_ERRORS = (pa.ArrowException, KeyError, IndexError, OverflowError)


def read_parquet(content: bytes, pick: Pick) -> RawTable:
    """Read a parquet file, with the label names that `datasets` writes into its schema.

    Raises:
        ValueError, pa.ArrowException: it is not parquet, or has too many rows or too much text.
    """
    file = pq.ParquetFile(io.BytesIO(content))
    check_rows(file.metadata.num_rows)
    columns = list(file.schema_arrow.names)
    wanted = pick(columns)
    names = _label_names(file.schema_arrow.metadata, wanted[1])
    # A name with a dot would be read as a path into a struct, hence the check of what came back.
    file = pq.ParquetFile(io.BytesIO(content), read_dictionary=list(wanted))
    table = file.read(columns=list(wanted), use_pandas_metadata=False)
    if missing := [name for name in wanted if name not in table.column_names]:
        raise ValueError(f"column {missing[0]!r} cannot be read; rename it")
    inputs, labels = (_values(table.column(name)) for name in wanted)
    return RawTable(columns, inputs, labels, range(1, len(inputs) + 1), "row", names)


def _values(column: pa.ChunkedArray) -> list[object]:
    try:
        return _bounded_values(column)
    except UnicodeDecodeError as error:
        raise ValueError(f"a text is not UTF-8 ({error.reason})") from error


def _bounded_values(column: pa.ChunkedArray) -> list[object]:
    values: list[object] = []
    size = 0
    for chunk in column.chunks:
        if isinstance(chunk, pa.DictionaryArray):
            known = chunk.dictionary.to_pylist()
            found = [None if i is None else known[i] for i in chunk.indices.to_pylist()]
        else:
            found = chunk.to_pylist()
        size += sum(len(value) for value in found if isinstance(value, str))
        if size > MAX_BYTES:
            raise ValueError(f"a column has more than {MAX_BYTES:,} characters; take a sample")
        values += found
    return values


def _label_names(metadata: Mapping[bytes, bytes] | None, column: str) -> Sequence[str] | None:
    """Return the class names of a column that `datasets` noted in the schema."""
    try:
        noted: Any = json.loads((metadata or {})[b"huggingface"])
        names = noted["info"]["features"][column]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    is_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return names if is_list and names else None
