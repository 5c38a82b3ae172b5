"""Reading one data file: a table from a file's suffix to the function that reads its format.

A reader finds the columns that are wanted and hands out their values as the format has them, in
chunks. What counts as an input or a label (cleaning/) and what happens to the rows
(splitting/) is decided elsewhere, in the same way for all formats.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from hpo_pipeline.data.readers.arrow_files import ARROW_ERRORS, read_arrow, read_parquet
from hpo_pipeline.data.readers.delimited import read_csv, read_tsv
from hpo_pipeline.data.readers.json_rows import read_json, read_json_lines
from hpo_pipeline.data.readers.plain_text import read_tagged_words, read_text
from hpo_pipeline.data.readers.source_file import Chunk, Pick, RawFile, SourceFile
from hpo_pipeline.data.readers.text import COMPRESSED
from hpo_pipeline.errors import DataError

Reader = Callable[[SourceFile, Pick], RawFile]

_TEXT: dict[str, Reader] = {
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".json": read_json,
    ".jsonl": read_json_lines,
    ".txt": read_text,
    ".conll": read_tagged_words,
}
_BINARY: dict[str, Reader] = {
    ".parquet": read_parquet,
    ".arrow": read_arrow,
    ".feather": read_arrow,
}
READERS: dict[str, Reader] = {**_TEXT, **_BINARY}
TEXT_SUFFIXES = (*_TEXT, *(f"{suffix}{packed}" for packed in COMPRESSED for suffix in _TEXT))
SUFFIXES = (*TEXT_SUFFIXES, *_BINARY)
"""Suffixes of data files, in lower case; the case of a file's own suffix does not matter."""

_ERRORS = (ValueError, TypeError, OSError, EOFError, RecursionError, csv.Error, zlib.error)


def data_suffix(name: str) -> str:
    """Return the suffix of a data file in lower case, `.csv.gz` included; else ''."""
    lower = name.lower()
    return next((suffix for suffix in SUFFIXES[::-1] if lower.endswith(suffix)), "")


def read_file(file: SourceFile, pick: Pick, *, is_tagged: bool = False) -> RawFile:
    """Open a data file and return its columns that `pick` names.

    Args:
        pick: gets the names of all columns and returns those that are wanted, the label last.
        is_tagged: whether words and tags are wanted, which a `.txt` file then holds.

    Raises:
        DataError: the suffix is unknown, or the content is not what it promises; the message
            names the file and, where the format has them, the line. The chunks raise it too.
    """
    suffix = data_suffix(file.name)
    if not suffix:
        known = ", ".join(READERS)
        raise DataError(
            f"task.data: {file.name}: {Path(file.name).suffix!r} is none of {known} (text also "
            f"packed as {' or '.join(COMPRESSED)})"
        )
    for packed in COMPRESSED:
        suffix = suffix.removesuffix(packed)
    reader = read_tagged_words if is_tagged and suffix == ".txt" else READERS[suffix]
    with _named(file.name):
        raw = reader(file, pick)
    return replace(raw, chunks=_checked(file.name, raw.chunks))


def _checked(name: str, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    with _named(name):
        yield from chunks


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Name the file in the faults of its reader."""
    try:
        yield
    except (*_ERRORS, *ARROW_ERRORS) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"task.data: {name} cannot be read: {first}") from error
