"""Rows in Arrow: in memory while they are few, else in a file that is mapped into memory.

The file has no name any more when its table is handed out, so nothing is left behind, however the
process ends.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hpo_pipeline.errors import DataError
from hpo_pipeline.tasks.kind import Form

Index = NDArray[np.int64]
BATCH = 4096
"""Rows that are fetched at a time."""
STORED_ROWS = 65_536
STORED_CHARACTERS = 32 * 2**20
IN_MEMORY = 32 * 2**20
"""Bytes of a table that is not written to a file."""

_TEXTS = pa.list_(pa.string())
_INPUTS = {
    "text": pa.string(),
    "pair": _TEXTS,
    "words": _TEXTS,
    "messages": pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())])),
    "image": pa.binary(),
}
_LABELS = {
    "class": pa.string(),
    "classes": _TEXTS,
    "number": pa.float64(),
    "tags": _TEXTS,
    "text": pa.string(),
}


def schema_of(form: Form, *, group: bool = False, order: bool = False) -> pa.Schema:
    """Return the columns of a table: input, label, and what the rows are split by."""
    fields = [("input", _INPUTS[form.input])]
    fields += [] if form.label is None else [("label", _LABELS[form.label])]
    fields += [("group", pa.string())] if group else []
    fields += [("order", pa.float64())] if order else []
    return pa.schema(fields)


class RowStore:
    """Collects rows in parts and makes a table of them."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self._columns: dict[str, list[Any]] = {name: [] for name in schema.names}
        self._pending = 0
        self._batches: list[pa.RecordBatch] = []
        self._bytes = 0
        self._file: Any = None
        self._writer: Any = None

    def append(self, columns: Mapping[str, Sequence[Any]], characters: int) -> None:
        """Add rows, given as one sequence for each column.

        Args:
            characters: of all values together, more or less.
        """
        for name, values in self._columns.items():
            values.extend(columns[name])
        self._pending += characters
        if len(self._columns["input"]) >= STORED_ROWS or self._pending >= STORED_CHARACTERS:
            self._flush()

    def table(self) -> RowTable:
        """Return all rows; nothing can be added after."""
        self._flush()
        if self._writer is None:
            return RowTable(pa.Table.from_batches(self._batches, self.schema))
        self._writer.close()
        self._file.flush()
        with pa.ipc.open_stream(pa.memory_map(self._file.name)) as reader:
            found = reader.read_all()
        self._file.close()
        return RowTable(found)

    def _flush(self) -> None:
        if not self._columns["input"]:
            return
        batch = pa.RecordBatch.from_pydict(self._columns, self.schema)
        for values in self._columns.values():
            values.clear()
        self._pending = 0
        self._bytes += batch.nbytes
        try:
            self._keep(batch)
        except OSError as error:
            raise DataError(
                f"task.data: rows cannot be written below {tempfile.gettempdir()}: "
                f"{error.strerror or error}; TMPDIR can name another place"
            ) from error

    def _keep(self, batch: pa.RecordBatch) -> None:
        if self._writer is None and self._bytes <= IN_MEMORY:
            self._batches.append(batch)
            return
        if self._writer is None:
            self._file = tempfile.NamedTemporaryFile(prefix="hpo-rows-")  # noqa: SIM115
            self._writer = pa.ipc.new_stream(self._file, self.schema)
            for earlier in self._batches:
                self._writer.write_batch(earlier)
            self._batches.clear()
        self._writer.write_batch(batch)


@dataclass(frozen=True)
class RowTable:
    """A table whose rows are fetched by their places, without a copy of the whole."""

    table: pa.Table

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.table.num_rows)

    def __getitem__(self, name: str) -> Values:
        """Return the values of a column."""
        return Part.whole(self)[name]

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return list(self.table.schema.names)

    @cached_property
    def _batches(self) -> list[pa.RecordBatch]:
        return [batch for batch in self.table.to_batches() if batch.num_rows]

    @cached_property
    def _starts(self) -> Index:
        sizes = [batch.num_rows for batch in self._batches]
        return np.cumsum([0, *sizes[:-1]], dtype=np.int64)

    def take(self, index: Index) -> pa.Table:
        """Return rows in the order of their places.

        Arrow's own `take` would join all parts of the table for each call.
        """
        if len(index) == 0:
            return self.table.slice(0, 0)
        part = np.searchsorted(self._starts, index, side="right") - 1
        order = np.argsort(part, kind="stable")
        parts, places = part[order], index[order]
        bounds = [0, *(np.flatnonzero(np.diff(parts)) + 1), len(parts)]
        found = []
        for low, high in itertools.pairwise(bounds):
            number = int(parts[low])
            within = pa.array(places[low:high] - self._starts[number])
            found.append(self._batches[number].take(within))
        joined = pa.Table.from_batches(found).combine_chunks()
        back = np.empty(len(order), dtype=np.int64)
        back[order] = np.arange(len(order))
        return joined.take(pa.array(back))


@dataclass(frozen=True)
class Part:
    """Some rows of a table in an order of their own."""

    rows: RowTable
    index: Index

    @classmethod
    def whole(cls, rows: RowTable) -> Part:
        """Return all rows of a table in their order."""
        return cls(rows, np.arange(len(rows)))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.index)

    def __getitem__(self, name: str) -> Values:
        """Return the values of a column."""
        return Values(self, name)

    def batches(self, size: int = BATCH, names: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield the rows in order, with some of the columns."""
        rows = RowTable(self.rows.table.select(names)) if names else self.rows
        for start in range(0, len(self.index), size):
            yield rows.take(self.index[start : start + size])

    def slice(self, start: int, stop: int) -> Part:
        """Return the rows from one place to another."""
        return Part(self.rows, self.index[start:stop])


@dataclass(frozen=True)
class Values(Sequence[Any]):
    """The values of a column as Python objects, made when they are asked for."""

    part: Part
    name: str

    def __len__(self) -> int:
        """Return the number of values."""
        return len(self.part)

    def __iter__(self) -> Iterator[Any]:
        """Yield the values in order."""
        for batch in self.part.batches(names=[self.name]):
            yield from batch.column(0).to_pylist()

    @overload
    def __getitem__(self, place: int) -> Any: ...

    @overload
    def __getitem__(self, place: slice) -> list[Any]: ...

    def __getitem__(self, place: int | slice) -> Any:
        """Return a value, or a list of those of a slice."""
        if isinstance(place, slice):
            return list(Values(Part(self.part.rows, self.part.index[place]), self.name))
        one = self.part.index[place]
        return self.part.rows.table.column(self.name)[int(one)].as_py()
