"""CSV and TSV: cells are text, and every row has as many as the header.

Nothing is guessed. A row with another number of cells, a quote that does not close, or one that
swallows the rows after it, is an error that names the line: any repair could move a text into the
label's column.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from hpo_pipeline.data.readers.raw_table import Pick, RawTable, check_rows

MAX_CELL = 16 * 2**20
"""Characters of one cell."""


def read_csv(content: bytes, pick: Pick) -> RawTable:
    """Read comma-separated UTF-8 text with a header.

    Raises:
        ValueError, csv.Error: a row does not fit the header, with its line.
    """
    return _read(content.decode("utf-8-sig"), ",", pick)


def read_tsv(content: bytes, pick: Pick) -> RawTable:
    """Read tab-separated UTF-8 text with a header; quotes work as in CSV.

    Raises:
        ValueError, csv.Error: a row does not fit the header, with its line.
    """
    return _read(content.decode("utf-8-sig"), "\t", pick)


def _read(text: str, delimiter: str, pick: Pick) -> RawTable:
    rows = _rows(text, delimiter)
    _, _, header = next(rows, (0, 0, []))
    columns = [name.strip() for name in header]
    if not columns:
        raise ValueError("it is empty; the first line must name the columns")
    wanted = [columns.index(name) for name in pick(columns)]
    inputs: list[str | None] = []
    labels: list[str | None] = []
    lines: list[int] = []
    long_rows: list[tuple[int, int, int]] = []
    for start, end, row in rows:
        if len(row) != len(columns):
            raise ValueError(_shifted(start, end, row, columns, delimiter))
        if end > start:
            cell = next((i for i, text in enumerate(row) if "\n" in text or "\r" in text), 0)
            long_rows.append((start, end, cell))
        inputs.append(row[wanted[0]] or None)
        labels.append(row[wanted[1]] or None)
        lines.append(start)
        check_rows(len(lines))
    if long_rows:
        known = {label.strip() for label in labels if label}
        _check_long_rows(text, delimiter, long_rows, (len(columns), wanted[1]), known)
    return RawTable(columns, inputs, labels, lines, "line")


def _rows(text: str, delimiter: str) -> Iterator[tuple[int, int, list[str]]]:
    """Yield the first line, the last line and the cells of each row that is not blank."""
    csv.field_size_limit(MAX_CELL)  # the standard limit of 131 072 is shorter than some documents
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        start = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(_broken(start, reader.line_num, error)) from error
        if row:
            yield start, reader.line_num, row


def _shifted(
    start: int, end: int, row: Sequence[str], columns: Sequence[str], delimiter: str
) -> str:
    sign = "tab" if delimiter == "\t" else "comma"
    lines = f"line {start}" if start == end else f"lines {start} to {end}"
    hint = f"put a text that holds a {sign} in double quotes"
    if len(row) > len(columns) and not row[-1].strip():
        hint = f"remove the {sign} at the end of the line, or add one to the header"
    elif start != end:
        hint = "a double quote may open there and not close; inside a text, write it twice"
    names = ", ".join(columns[:5]) + (", …" if len(columns) > 5 else "")
    return f"{lines}: {len(row)} cells, and the header has {len(columns)} ({names}); {hint}"


def _broken(start: int, end: int, error: csv.Error) -> str:
    if "field larger" in str(error):
        return f"line {start}: a cell has more than {MAX_CELL:,} characters"
    lines = f"line {start}" if end <= start else f"lines {start} to {end}"
    return (
        f"{lines}: a double quote opens a cell and does not close it; put the whole text in "
        f"double quotes, and write a double quote inside it twice ({error})"
    )


def _check_long_rows(
    text: str,
    delimiter: str,
    long_rows: Sequence[tuple[int, int, int]],
    shape: tuple[int, int],
    known: set[str],
) -> None:
    """Refuse a row over several lines that holds what looks like whole rows.

    A stray quote at the start of a cell runs on to the next quote in the file, rows later. The
    lines in between then look like rows with a known label, which those of a long text do not.

    Raises:
        ValueError: there is such a row.
    """
    count, label = shape
    physical = io.StringIO(text, newline=None).read().split("\n")
    for start, end, cell in long_rows:
        # The line with the label's own cell always looks like a row.
        first, last = (start, end - 1) if cell < label else (start + 1, end)
        if cell == label:
            first, last = start, end
        for number in range(first, last + 1):
            cells = physical[number - 1].split(delimiter)
            if len(cells) == count and cells[label].strip().strip('"') in known:
                raise ValueError(
                    f"lines {start} to {end} are one row, because a double quote opens in line "
                    f"{start} and closes in line {end}, but line {number} looks like a row of its "
                    f"own; close the quote, or write it twice"
                )
