"""JSON: a list of objects, an object that holds one (`{"data": […]}`), or one object a line.

A list is read object by object, so that a large one is never in memory as a whole.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hpo_pipeline.data.readers.source_file import (
    CHUNK_ROWS,
    Chunk,
    Pick,
    RawFile,
    SourceFile,
    check_rows,
)
from hpo_pipeline.data.readers.text import blocks_of, lines_of
from hpo_pipeline.errors import DataError

_SHAPE = "it must hold a list of objects, or one object a line"
_BLOCK = 2**20
MAX_OBJECT = 64 * 2**20
"""Characters of one object of a list."""
_LIST = re.compile(r":\s*\[\s*\{")
_ROWS = ("data", "rows", "examples", "instances")
_BLANKS = re.compile(r"[ \t\r\n]*")
Numbered = Iterator[tuple[int, dict[str, Any]]]


def read_json(file: SourceFile, pick: Pick) -> RawFile:
    """Read a list of objects; a file with one object a line is read too.

    Raises:
        ValueError: it is neither; with the line where there is one.
    """
    return _read(file, pick)


def read_json_lines(file: SourceFile, pick: Pick) -> RawFile:
    """Read one object a line; a file that holds a list of objects is read too.

    Raises:
        ValueError: it is neither; with the line where there is one.
    """
    return _read(file, pick)


def _read(file: SourceFile, pick: Pick) -> RawFile:
    open_rows, unit = _opened(file)
    rows = open_rows()
    first = list(itertools.islice(rows, CHUNK_ROWS))
    if not first:
        raise ValueError(f"it has no rows; {_SHAPE}")
    columns = dict.fromkeys(name for _, row in first for name in row)
    try:
        wanted = tuple(pick(list(columns)))
    except DataError:  # a column may begin further down
        for _, row in rows:
            columns |= dict.fromkeys(row)
        wanted = tuple(pick(list(columns)))
        rows, first = open_rows(), []
    names = _Names(columns)
    chunks = _chunks(itertools.chain(first, rows), wanted, columns)
    return RawFile(names, wanted, chunks, unit)


class _Names(Sequence[str]):
    """The names of the columns that have been seen so far."""

    def __init__(self, seen: dict[str, None]) -> None:
        self._seen = seen

    def __getitem__(self, place: Any) -> Any:
        return list(self._seen)[place]

    def __len__(self) -> int:
        return len(self._seen)


def _chunks(rows: Numbered, wanted: tuple[str, ...], columns: dict[str, None]) -> Iterator[Chunk]:
    count = 0
    while chunk := list(itertools.islice(rows, CHUNK_ROWS)):
        count += len(chunk)
        check_rows(count)
        columns |= dict.fromkeys(name for _, row in chunk for name in row)
        numbers = [number for number, _ in chunk]
        yield Chunk(numbers, tuple([row.get(name) for _, row in chunk] for name in wanted))


def _opened(file: SourceFile) -> tuple[Callable[[], Numbered], str]:
    """Return how the rows are read, and what their numbers count."""
    start = next(blocks_of(file), "").lstrip("\ufeff \t\r\n")
    if start.startswith("["):
        return lambda: _listed(file, _Scanner(blocks_of(file))), "row"
    if _is_wrapped(start):
        return lambda: _wrapped(file), "row"
    return lambda: _lines(file), "line"


def _is_wrapped(start: str) -> bool:
    """Return whether a file is one object that holds the list of rows, by its first block."""
    line, end, rest = start.partition("\n")
    if not start.startswith("{") or not _LIST.search(start):
        return False
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return bool(end) or len(start) >= _BLOCK  # else the line is broken
    return not rest.strip() and any(name in row for name in _ROWS)


def _lines(file: SourceFile) -> Numbered:
    for number, line in enumerate(lines_of(file), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            file.refuse(f"line {number}: {error}")
            continue
        if not isinstance(row, dict):
            file.refuse(f"line {number}: {_SHAPE}")
            continue
        yield number, row


def _listed(file: SourceFile, scanner: _Scanner) -> Numbered:
    """Yield the objects of a list at which the scanner is."""
    scanner.skip("[")
    for number in itertools.count(1):
        if scanner.peek() == "]":
            scanner.skip("]")
            return
        if number > 1:
            scanner.skip(",")
        row = scanner.value()
        if isinstance(row, dict):
            yield number, row
        else:
            file.refuse(f"{_SHAPE}; entry {number} is not an object")


def _wrapped(file: SourceFile) -> Numbered:
    """Yield the objects of the only list of objects in an object."""
    scanner = _Scanner(blocks_of(file))
    scanner.skip("{")
    while True:
        key = scanner.value()
        scanner.skip(":")
        if scanner.is_at_rows():
            yield from _listed(file, scanner)
            return
        scanner.value()
        if scanner.peek() == "}":
            raise ValueError(f"it is one object without a list of rows (after {key!r}); {_SHAPE}")
        scanner.skip(",")


class _Scanner:
    """Reads JSON values one after another from a stream, block by block."""

    def __init__(self, blocks: Iterator[str]) -> None:
        self._blocks = blocks
        self._text = ""
        self._place = 0
        self._is_over = False
        self._decode = json.JSONDecoder().raw_decode

    def peek(self) -> str:
        """Return the next character that is not blank; '' at the end."""
        while True:
            found = _BLANKS.match(self._text, self._place)
            self._place = found.end() if found else self._place
            if self._place < len(self._text) or self._is_over:
                return self._text[self._place : self._place + 1]
            self._more()

    def is_at_rows(self) -> bool:
        """Return whether a list of objects comes next."""
        is_list = self.peek() == "["
        while is_list and len(self._text) - self._place < _BLOCK and not self._is_over:
            self._more()
        return is_list and re.match(r"\[\s*\{", self._text[self._place :][:_BLOCK]) is not None

    def skip(self, sign: str) -> None:
        """Pass a sign that has to come next.

        Raises:
            ValueError: another one comes.
        """
        found = self.peek()
        if found != sign and not (sign == "[" and found == "\ufeff"):
            shown = repr(found) if found else "the end of the file"
            raise ValueError(f"{shown} is where {sign!r} should be; {_SHAPE}")
        self._place += 1

    def value(self) -> Any:
        """Return the next value.

        Raises:
            ValueError: there is none, or it is too long.
        """
        self.peek()
        while True:
            try:
                found, end = self._decode(self._text, self._place)
            except ValueError:
                if self._is_over or len(self._text) - self._place > MAX_OBJECT:
                    raise
                self._more()
                continue
            if end < len(self._text) or self._is_over:  # else a number may continue
                self._place = end
                return found
            self._more()

    def _more(self) -> None:
        """Read on, twice as much as is left, so that a long value is not tried too often."""
        left = self._text[self._place :]
        parts, size = [left], 0
        while size < max(_BLOCK, 2 * len(left)) and (block := next(self._blocks, "")):
            parts.append(block)
            size += len(block)
        self._text, self._place, self._is_over = "".join(parts), 0, not size
