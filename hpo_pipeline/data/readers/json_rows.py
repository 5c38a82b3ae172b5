"""JSON: a list of objects, or one object a line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hpo_pipeline.data.readers.raw_table import Pick, RawTable, check_rows

_SHAPE = "it must hold a list of objects, or one object a line"


def read_json(content: bytes, pick: Pick) -> RawTable:
    """Read a list of objects; a file with one object a line is read too.

    Raises:
        ValueError: it is neither; with the line where there is one.
    """
    text = content.decode("utf-8-sig")
    if not text.lstrip().startswith("["):
        return read_json_lines(content, pick)
    rows = json.loads(text)
    wrong = next((i for i, row in enumerate(rows) if not isinstance(row, dict)), None)
    if wrong is not None:
        raise ValueError(f"{_SHAPE}; entry {wrong + 1} is not an object")
    return _table(rows, range(1, len(rows) + 1), "row", pick)


def read_json_lines(content: bytes, pick: Pick) -> RawTable:
    """Read one object a line; a file that holds a list of objects is read too.

    Raises:
        ValueError: it is neither; with the line where there is one.
    """
    text = content.decode("utf-8-sig")
    if text.lstrip().startswith("["):
        return read_json(content, pick)
    rows, lines = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
        if not isinstance(row, dict):
            raise ValueError(f"line {number}: {_SHAPE}")
        rows.append(row)
        lines.append(number)
    return _table(rows, lines, "line", pick)


def _table(
    rows: Sequence[dict[str, Any]], numbers: Sequence[int], unit: str, pick: Pick
) -> RawTable:
    check_rows(len(rows))
    if not rows:
        raise ValueError(f"it has no rows; {_SHAPE}")
    columns = list(dict.fromkeys(name for row in rows for name in row))
    wanted, label = pick(columns)
    inputs = [row.get(wanted) for row in rows]
    return RawTable(columns, inputs, [row.get(label) for row in rows], numbers, unit)
