"""Plain text: a row for each line or paragraph; and tagged words, one a line (CoNLL)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

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

TEXT_COLUMN = "text"
WORDS, TAGS = "tokens", "tags"
_DOCUMENT = "-DOCSTART-"


def read_text(file: SourceFile, pick: Pick) -> RawFile:
    """Read the lines of a text file, or its paragraphs, which blank lines separate.

    Raises:
        ValueError: it is not text.
    """
    wanted = tuple(pick([TEXT_COLUMN]))
    rows = _paragraphs(file) if file.paragraphs else _lines(file)
    chunks = _chunks(((number, (text,)) for number, text in rows), len(wanted))
    return RawFile([TEXT_COLUMN], wanted, chunks, "line")


def read_tagged_words(file: SourceFile, pick: Pick) -> RawFile:
    """Read a word and its tag from the first and last cell of a line; blank lines end sentences.

    Raises:
        ValueError: a line has no tag, with its number.
    """
    wanted = tuple(pick([WORDS, TAGS]))
    order = [(WORDS, TAGS).index(name) for name in wanted]
    rows = ((n, tuple(row[i] for i in order)) for n, row in _sentences(file))
    return RawFile([WORDS, TAGS], wanted, _chunks(rows, len(wanted)), "line")


def _chunks(rows: Iterator[tuple[int, tuple[object, ...]]], width: int) -> Iterator[Chunk]:
    count = 0
    while True:
        numbers: list[int] = []
        columns: list[list[object]] = [[] for _ in range(width)]
        size = 0
        for number, row in rows:
            numbers.append(number)
            for values, value in zip(columns, row, strict=True):
                values.append(value)
                size += len(value) if isinstance(value, str | list) else 0
            if len(numbers) >= CHUNK_ROWS or size >= CHUNK_CHARACTERS:
                break
        if not numbers:
            return
        count += len(numbers)
        check_rows(count)
        yield Chunk(numbers, columns)


def _lines(file: SourceFile) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines_of(file), start=1):
        if text := line.strip():
            yield number, text


def _paragraphs(file: SourceFile) -> Iterator[tuple[int, str]]:
    numbered = enumerate(lines_of(file), start=1)
    for is_blank, lines in itertools.groupby(numbered, lambda line: not line[1].strip()):
        if not is_blank:
            found = list(lines)
            yield found[0][0], "\n".join(text.rstrip() for _, text in found)


def _sentences(file: SourceFile) -> Iterator[tuple[int, tuple[list[str], list[str]]]]:
    numbered = enumerate(lines_of(file), start=1)
    for is_blank, lines in itertools.groupby(numbered, lambda line: not line[1].strip()):
        if is_blank:
            continue
        found = list(lines)
        cells = [(number, text.split()) for number, text in found if not _is_remark(text)]
        if not cells:
            continue
        if bare := next((number for number, cell in cells if len(cell) < 2), None):
            file.refuse(f"line {bare}: a word without a tag; each line needs both")
            continue
        yield cells[0][0], ([cell[0] for _, cell in cells], [cell[-1] for _, cell in cells])


def _is_remark(line: str) -> bool:
    """Return whether a line marks a document, or holds the remarks of CoNLL-U."""
    cells: Sequence[str] = line.split()
    return cells[0] == _DOCUMENT or (cells[0] == "#" and len(cells) > 1 and "=" in line)
