"""Parquet and Arrow files: only the wanted columns are read, in chunks of bounded size.

A dictionary-encoded column of a small file may hold gigabytes of repeated text. It is read as a
dictionary and indices, so that equal texts are one Python object.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hpo_pipeline.data.readers import source_file
from hpo_pipeline.data.readers.source_file import (
    CHUNK_ROWS,
    Chunk,
    Pick,
    RawFile,
    SourceFile,
    check_rows,
)

ARROW_ERRORS = (pa.ArrowException, KeyError, IndexError, OverflowError)


def read_parquet(file: SourceFile, pick: Pick) -> RawFile:
    """Read a parquet file, with the label names that `datasets` writes into its schema.

    Raises:
        ValueError, pa.ArrowException: it is not parquet, or has too many rows or too much text.
    """
    schema = pq.read_schema(file.path)
    columns = list(schema.names)
    wanted = tuple(pick(columns))
    texts = [name for name in wanted if _is_text(schema.field(name).type)]
    opened = pq.ParquetFile(file.path, read_dictionary=texts, memory_map=True)
    check_rows(opened.metadata.num_rows)
    batches = opened.iter_batches(
        CHUNK_ROWS, columns=list(wanted), use_pandas_metadata=False, use_threads=False
    )
    return RawFile(columns, wanted, chunks(batches, wanted), "row", class_names(schema))


def read_arrow(file: SourceFile, pick: Pick) -> RawFile:
    """Read an Arrow file or stream, which Feather files are too, with its label names.

    Raises:
        ValueError, pa.ArrowException: it is neither, or has too many rows or too much text.
    """
    source = pa.memory_map(str(file.path))
    if source.size() == 0:
        raise ValueError("it is empty")
    is_file = source.read(6) == b"ARROW1"
    source.seek(0)
    reader: Any = pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)
    columns = list(reader.schema.names)
    wanted = tuple(pick(columns))
    if is_file:
        batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
    else:
        batches = iter(reader)
    return RawFile(columns, wanted, chunks(batches, wanted), "row", class_names(reader.schema))


def chunks(batches: Iterable[Any], wanted: Sequence[str]) -> Iterator[Chunk]:
    """Yield the rows of Arrow batches or tables as Python values.

    Raises:
        ValueError: a text is not UTF-8, or there is too much of it.
    """
    count = 0
    sizes = dict.fromkeys(wanted, 0)
    for batch in batches:
        # A name with a dot would be read as a path into a struct, hence the check.
        if missing := [name for name in wanted if name not in batch.schema.names]:
            raise ValueError(f"column {missing[0]!r} cannot be read; rename it")
        for start in range(0, batch.num_rows, CHUNK_ROWS):
            part = batch.slice(start, CHUNK_ROWS)
            check_rows(count + part.num_rows)
            numbers = range(count + 1, count + part.num_rows + 1)
            count += part.num_rows
            yield Chunk(numbers, tuple(_values(part.column(name), name, sizes) for name in wanted))


def class_names(schema: pa.Schema) -> dict[str, Sequence[str]]:
    """Return the class names of columns, and of lists in columns, that `datasets` noted."""
    try:
        noted: Any = json.loads((schema.metadata or {})[b"huggingface"])
        features = dict(noted["info"]["features"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    found = {name: _names(feature) for name, feature in features.items()}
    return {name: names for name, names in found.items() if names}


def _names(feature: Any) -> Sequence[str] | None:
    """Return the names of a class label, or of those that a list holds."""
    match feature:
        case {"names": list(names)} if names and all(isinstance(name, str) for name in names):
            return names
        case {"feature": inner} | [inner] if not isinstance(inner, str):
            return _names(inner)
    return None


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _values(column: Any, name: str, sizes: dict[str, int]) -> list[Any]:
    try:
        values = _plain(column)
    except UnicodeDecodeError as error:
        raise ValueError(f"a text is not UTF-8 ({error.reason})") from error
    sizes[name] += sum(len(value) for value in values if isinstance(value, str | bytes))
    limit = source_file.MAX_BYTES
    if sizes[name] > limit:
        raise ValueError(f"a column has more than {limit:,} characters; take a sample")
    return values


def _plain(column: Any) -> list[Any]:
    parts: Sequence[Any] = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    values: list[Any] = []
    for part in parts:
        if isinstance(part, pa.DictionaryArray):
            known = part.dictionary.to_pylist()
            values += [None if i is None else known[i] for i in part.indices.to_pylist()]
        else:
            values += part.to_pylist()
    return values
