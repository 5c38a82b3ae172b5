"""What every reader is given and returns, and the limits that all of them keep.

Files are read in chunks, so that the memory does not grow with the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAX_ROWS = 20_000_000
"""Rows of one file."""
MAX_BYTES = 16 * 2**30
"""Bytes of one file, unpacked."""
CHUNK_ROWS = 8192
CHUNK_CHARACTERS = 8 * 2**20
SHOWN = 5

Pick = Callable[[Sequence[str]], Sequence[str]]
"""Gets the names of all columns of a file and returns those that are wanted.

Raises:
    DataError: one of them is not there.
"""


class BadRows:
    """Rows or images that cannot be read: named, counted, and refused beyond a limit."""

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self.count = 0
        self.shown: list[str] = []

    def add(self, reason: str, source: str = "") -> None:
        """Count a bad row of a source.

        Raises:
            ValueError: there are more than the limit.
        """
        self.count += 1
        if len(self.shown) < SHOWN:
            self.shown.append(f"{source}, {reason}" if source else reason)
        if self.count > self.limit > 0:
            raise ValueError(
                f"{reason}; this is one bad row more than the {self.limit:,} that "
                f"task.max_bad_rows allows (first: {'; '.join(self.shown)})"
            )
        if self.count > self.limit:
            raise ValueError(reason)

    def notes(self) -> tuple[str, ...]:
        """Return the sentence on the rows that were left out; none if there are none."""
        if not self.count:
            return ()
        more = f" and {self.count - SHOWN:,} more" if self.count > SHOWN else ""
        shown = "; ".join(self.shown)
        return (f"{self.count:,} rows could not be read and are left out: {shown}{more}.",)


@dataclass(frozen=True)
class SourceFile:
    """A file on this machine that a reader opens.

    Attributes:
        path: where it is.
        name: how messages call it.
        encoding: of its text; None detects it.
        delimiter: between the cells of a delimited file; None finds it in the header.
        paragraphs: whether a row of plain text is a paragraph and not a line.
        bad_rows: where rows that cannot be read are counted.
        notes: sentences on how the file was read; readers add to it.
    """

    path: Path
    name: str
    encoding: str | None = None
    delimiter: str | None = None
    paragraphs: bool = False
    bad_rows: BadRows = field(default_factory=BadRows)
    notes: list[str] = field(default_factory=list)

    def refuse(self, reason: str) -> None:
        """Leave out a row that cannot be read.

        Raises:
            ValueError: there are more of them than are allowed.
        """
        self.bad_rows.add(reason, self.name)


@dataclass(frozen=True)
class Chunk:
    """Rows that follow each other in a file.

    Attributes:
        numbers: where each row is, from 1.
        columns: the values of each wanted column, as the format has them; None for none.
    """

    numbers: Sequence[int]
    columns: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class RawFile:
    """The wanted columns of a file.

    Attributes:
        columns: the names of all columns; those of JSON may become more while chunks are read.
        wanted: the names of the columns of each chunk.
        chunks: the rows, which can be read once.
        unit: what the numbers of rows count: lines or rows.
        names: by column, the names behind its whole numbers, where the file has them.
    """

    columns: Sequence[str]
    wanted: Sequence[str]
    chunks: Iterator[Chunk]
    unit: str = "row"
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)


def check_rows(count: int) -> None:
    """Refuse a file with too many rows.

    Raises:
        ValueError: there are more than `MAX_ROWS`.
    """
    if count > MAX_ROWS:
        raise ValueError(f"it has {count:,} rows, and {MAX_ROWS:,} are allowed; take a sample")
