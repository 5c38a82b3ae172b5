"""CSV and TSV: cells are text, and every row has as many as the header.

Nothing is guessed. A row with another number of cells, a quote that does not close, or one that
swallows the rows after it, is an error that names the line: any repair could move a text into the
label's column.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from hpo_pipeline.data.readers.source_file import (
    CHUNK_CHARACTERS,
    CHUNK_ROWS,
    Chunk,
    Pick,
    RawFile,
    SourceFile,
    check_rows,
)
from hpo_pipeline.data.readers.text import lines_of

MAX_CELL = 16 * 2**20
"""Characters of one cell."""
DELIMITERS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar"}
_QUOTED = re.compile(r'"[^"]*"')
_KNOWN_LABELS = 100_000
"""Different labels that are remembered: a column with more holds no classes."""


def read_csv(file: SourceFile, pick: Pick) -> RawFile:
    """Read text with a header and cells between commas, or what else the header has.

    Raises:
        ValueError, csv.Error: a row does not fit the header, with its line.
    """
    return _read(file, ",", pick)


def read_tsv(file: SourceFile, pick: Pick) -> RawFile:
    """Read text with a header and cells between tabs; quotes work as in CSV.

    Raises:
        ValueError, csv.Error: a row does not fit the header, with its line.
    """
    return _read(file, "\t", pick)


@dataclass(frozen=True)
class _Row:
    """A row as it was read: its first and last line, its cells, and its lines where several."""

    start: int
    end: int
    cells: list[str]
    lines: Sequence[str] = ()


def _read(file: SourceFile, usual: str, pick: Pick) -> RawFile:
    lines = lines_of(file)
    first: list[str] = []
    while not (first and first[-1].strip()) and (line := next(lines, "")):
        first.append(line)
    delimiter = file.delimiter or _sniffed("".join(first), usual)
    rows = _rows(itertools.chain(first, lines), delimiter)
    header = next(rows, None)
    if header is None:
        raise ValueError("it is empty; the first line must name the columns")
    columns = [name.strip() for name in header.cells]
    wanted = tuple(pick(columns))
    places = tuple(columns.index(name) for name in wanted)
    chunks = _chunks(file, rows, _Layout(columns, places, delimiter))
    return RawFile(columns, wanted, chunks, "line")


def _sniffed(header: str, usual: str) -> str:
    """Return what separates the names in the header."""
    names = _QUOTED.sub("", header)
    return max(DELIMITERS, key=lambda sign: (names.count(sign), sign == usual))


@dataclass(frozen=True)
class _Layout:
    """What the header says: the names, the places of the wanted ones, and the delimiter."""

    columns: list[str]
    wanted: tuple[int, ...]
    delimiter: str


def _chunks(file: SourceFile, rows: Iterator[_Row], layout: _Layout) -> Iterator[Chunk]:
    swallowed = _Swallowed(layout)
    numbers: list[int] = []
    cells: list[list[str | None]] = [[] for _ in layout.wanted]
    width, count, size = len(layout.columns), 0, 0
    single = list(zip(cells, layout.wanted, strict=True))
    for row in rows:
        found = row.cells
        if len(found) != width:
            file.refuse(_shifted(row, layout))
            continue
        if row.lines:
            swallowed.look_at(row)
        for values, place in single:
            cell = found[place]
            size += len(cell)
            values.append(cell or None)
        numbers.append(row.start)
        if len(numbers) >= CHUNK_ROWS or size >= CHUNK_CHARACTERS:
            count += len(numbers)
            check_rows(count)
            swallowed.know(cells)
            yield Chunk(numbers[:], tuple(values[:] for values in cells))
            size = 0
            numbers.clear()
            for values in cells:
                values.clear()
    check_rows(count + len(numbers))
    swallowed.know(cells)
    swallowed.check()
    if numbers:
        yield Chunk(numbers, tuple(cells))


def _rows(lines: Iterable[str], delimiter: str) -> Iterator[_Row]:
    """Yield each row that is not blank."""
    csv.field_size_limit(MAX_CELL)  # the standard limit of 131 072 is shorter than some documents
    kept: list[str] = []
    reader = csv.reader(_kept(lines, kept), delimiter=delimiter, strict=True)
    end = 0
    while True:
        kept.clear()
        start = end + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(_broken(start, reader.line_num, error)) from error
        end = reader.line_num
        if cells:
            yield _Row(start, end, cells, kept[:] if end > start else ())


def _kept(lines: Iterable[str], kept: list[str]) -> Iterator[str]:
    for line in lines:
        kept.append(line)
        yield line


def _shifted(row: _Row, layout: _Layout) -> str:
    start, end, cells, columns = row.start, row.end, row.cells, layout.columns
    sign = DELIMITERS.get(layout.delimiter, repr(layout.delimiter))
    lines = f"line {start}" if start == end else f"lines {start} to {end}"
    hint = f"put a text that holds a {sign} in double quotes"
    if len(cells) > len(columns) and not cells[-1].strip():
        hint = f"remove the {sign} at the end of the line, or add one to the header"
    elif start != end:
        hint = "a double quote may open there and not close; inside a text, write it twice"
    names = ", ".join(columns[:5]) + (", …" if len(columns) > 5 else "")
    return f"{lines}: {len(cells)} cells, and the header has {len(columns)} ({names}); {hint}"


def _broken(start: int, end: int, error: csv.Error) -> str:
    if "field larger" in str(error):
        return f"line {start}: a cell has more than {MAX_CELL:,} characters"
    lines = f"line {start}" if end <= start else f"lines {start} to {end}"
    return (
        f"{lines}: a double quote opens a cell and does not close it; put the whole text in "
        f"double quotes, and write a double quote inside it twice ({error})"
    )


@dataclass
class _Swallowed:
    """Finds rows over several lines that hold what looks like whole rows.

    A stray quote at the start of a cell runs on to the next quote in the file, rows later. The
    lines in between then look like rows with a known label, which those of a long text do not.
    The last wanted column is taken for the label.
    """

    layout: _Layout
    suspects: dict[str, str] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)

    def know(self, cells: Sequence[Sequence[str | None]]) -> None:
        """Remember the labels of a chunk."""
        if len(cells) > 1 and len(self.known) < _KNOWN_LABELS:
            self.known |= {label.strip() for label in set(cells[-1]) if label}

    def look_at(self, row: _Row) -> None:
        """Remember the labels that the inner lines of a row would have."""
        label = self.layout.wanted[-1]
        cell = next((i for i, text in enumerate(row.cells) if "\n" in text or "\r" in text), 0)
        # The line with the label's own cell always looks like a row.
        first, last = (row.start, row.end - 1) if cell < label else (row.start + 1, row.end)
        if cell == label:
            first, last = row.start, row.end
        physical = io.StringIO("".join(row.lines), newline=None).read().split("\n")
        for number in range(first, last + 1):
            cells = physical[number - row.start].split(self.layout.delimiter)
            if len(cells) == len(self.layout.columns):
                self.suspects.setdefault(
                    cells[label].strip().strip('"'),
                    f"lines {row.start} to {row.end} are one row, because a double quote opens in "
                    f"line {row.start} and closes in line {row.end}, but line {number} looks like "
                    f"a row of its own; close the quote, or write it twice",
                )

    def check(self) -> None:
        """Refuse a row whose inner lines have a label of the file.

        Raises:
            ValueError: there is such a row.
        """
        found = next((text for label, text in self.suspects.items() if label in self.known), None)
        if found:
            raise ValueError(found)
