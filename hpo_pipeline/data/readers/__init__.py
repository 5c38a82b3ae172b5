"""Reading one data file: a table from a file's suffix to the function that reads its format.

A reader finds the two columns that are wanted and hands out their values as the format has them.
What counts as a label (labels.py) and what happens to the rows (splits.py) is decided elsewhere,
in the same way for all formats.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable
from pathlib import Path

from hpo_pipeline.data.readers.delimited import read_csv, read_tsv
from hpo_pipeline.data.readers.json_rows import read_json, read_json_lines
from hpo_pipeline.data.readers.parquet import ARROW_ERRORS, read_parquet
from hpo_pipeline.data.readers.raw_table import MAX_BYTES, Pick, RawTable
from hpo_pipeline.errors import DataError

Reader = Callable[[bytes, Pick], RawTable]

READERS: dict[str, Reader] = {
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".json": read_json,
    ".jsonl": read_json_lines,
    ".parquet": read_parquet,
}
COMPRESSED = ".gz"
SUFFIXES = (*READERS, *(f"{suffix}{COMPRESSED}" for suffix in READERS if suffix != ".parquet"))
"""Suffixes of data files, in lower case; the case of a file's own suffix does not matter."""

_ERRORS = (ValueError, TypeError, OSError, EOFError, RecursionError, csv.Error, zlib.error)


def data_suffix(name: str) -> str:
    """Return the suffix of a data file in lower case, `.csv.gz` included; else ''."""
    lower = name.lower()
    return next((suffix for suffix in SUFFIXES if lower.endswith(suffix)), "")


def read_file(name: str, content: bytes, pick: Pick) -> RawTable:
    """Read the two columns of a data file that `pick` names.

    Args:
        name: the file's name, for its suffix and for messages.
        pick: gets the names of all columns and returns those of the input and of the label.

    Raises:
        DataError: the suffix is unknown, or the content is not what it promises; the message
            names the file and, where the format has them, the line.
    """
    suffix = data_suffix(name)
    if not suffix:
        raise DataError(
            f"task.data: {name}: {Path(name).suffix!r} is none of {', '.join(SUFFIXES)}"
        )
    try:
        if suffix.endswith(COMPRESSED):
            content = _decompressed(content)
            suffix = suffix.removesuffix(COMPRESSED)
        return READERS[suffix](content, pick)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"task.data: {name} cannot be read: line {line} is not UTF-8 text (byte "
            f"0x{error.object[error.start]:02x}); save the file as UTF-8"
        ) from error
    except (*_ERRORS, *ARROW_ERRORS) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"task.data: {name} cannot be read: {first}") from error


def _decompressed(content: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
        found = stream.read(MAX_BYTES + 1)
    if len(found) > MAX_BYTES:
        raise ValueError(f"it unpacks to more than {MAX_BYTES:,} bytes; split the file")
    return found
