"""Encoding rows by a kind of task: in batches, on several cores where there are many rows."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hpo_pipeline.data.prepared.arrow_folder import file_name, finish, write_file, write_folder
from hpo_pipeline.data.progress import Progress
from hpo_pipeline.data.row_table import BATCH, Index, Part, RowTable
from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.tasks.kind import TaskKind, rows_of

ROWS_PER_PROCESS = 20_000
"""Fewer rows are encoded before another process has started."""
MAX_PROCESSES = 8
FILES_PER_PROCESS = 8
ENCODED_ROWS = 1024
"""Rows that are encoded at a time."""
FIRST = 256
"""Rows whose encoding decides the types of the columns."""
_PARALLEL = "TOKENIZERS_PARALLELISM"
_COLUMNS = ("input", "label")


@dataclass(frozen=True)
class Encoder:
    """What turns rows into encoded rows.

    Attributes:
        task: as encoded: with the greatest length that a trial asks for.
        processor: of the kind of task, such as a tokenizer.
        names: the labels in order.
    """

    task: Task
    processor: Any
    names: Sequence[str]

    def columns(self, rows: pa.Table) -> dict[str, list[Any]]:
        """Return the encoded columns of rows.

        Raises:
            DataError: a row cannot be encoded.
        """
        names = [name for name in _COLUMNS if name in rows.column_names]
        batch = {name: rows.column(name).to_pylist() for name in names}
        return TASKS[self.task.kind].encode(self.task, batch, self.processor, self.names)

    def lengths(self, columns: Mapping[str, Sequence[Any]]) -> list[int]:
        """Return the length of each encoded row."""
        kind = TASKS[self.task.kind]
        return [kind.length(row) for row in rows_of(columns)]


def encode(
    part: Part, encoder: Encoder, folder: Path, progress: Progress, *, by_length: bool
) -> NDArray[np.int64]:
    """Write the encoded rows of a split to a folder, and return the length of each.

    Args:
        by_length: write short rows first. Rows of one length side by side need next to no padding
            when evaluated.

    Raises:
        DataError: a row cannot be encoded.
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True)
    schema = _schema(encoder, part)
    job = _Job(part, encoder, schema, folder)
    ranges = _ranges(len(part))
    lengths = list(_run(job, ranges, progress))
    files = [file_name(i, len(ranges)) for i in range(len(ranges))]
    found: NDArray[np.int64] = np.concatenate(lengths)
    if by_length and found.any():
        _sort(folder, schema, files, np.argsort(found, kind="stable"))
        return found
    finish(folder, schema, files, folder.name)
    return found


def measure(part: Part, encoder: Encoder, progress: Progress) -> NDArray[np.int64]:
    """Return the length of each row of a split without writing its encoding."""
    if not len(part):
        return np.empty(0, dtype=np.int64)
    job = _Job(part, encoder, None, None)
    return np.concatenate(list(_run(job, _ranges(len(part)), progress)))


@dataclass(frozen=True)
class LengthCounts:
    """How many rows are too long, and how many have nothing to learn."""

    full: int = 0
    idle: int = 0

    @classmethod
    def of(cls, lengths: NDArray[np.int64], max_length: int, kind: TaskKind) -> LengthCounts:
        """Count rows by their lengths, of what matters to a kind of task."""
        full = int((lengths >= max_length).sum()) if kind.is_cut else 0
        return cls(full, int((lengths == 0).sum()) if kind.idle else 0)

    def __add__(self, other: LengthCounts) -> LengthCounts:
        """Return the counts of both."""
        return LengthCounts(self.full + other.full, self.idle + other.idle)

    def notes(self, kind: TaskKind, max_length: int, rows: str) -> list[str]:
        """Return sentences for the report.

        Args:
            rows: which were counted, as in "of 1,000 rows".
        """
        found = []
        if self.full:
            found.append(
                f"{self.full:,} {rows} have {max_length} tokens or more; what exceeds them is cut "
                f"(task.max_length)."
            )
        if self.idle:
            found.append(f"{self.idle:,} {rows} are {kind.idle}: nothing is learnt from them.")
        return found


@dataclass(frozen=True)
class _Job:
    """Rows to encode; where `folder` is None, they are only measured."""

    part: Part
    encoder: Encoder
    schema: pa.Schema | None
    folder: Path | None

    def encode(
        self, number: int, count: int, bounds: tuple[int, int], progress: Progress
    ) -> NDArray[np.int64]:
        """Encode a range of rows into a file of its own and return their lengths."""
        lengths: list[int] = []
        batches = self._batches(self.part.slice(*bounds), lengths, progress)
        if self.folder is None or self.schema is None:
            for _ in batches:
                pass
        else:
            write_file(self.folder / file_name(number, count), self.schema, batches)
        return np.array(lengths, dtype=np.int64)

    def _batches(self, part: Part, lengths: list[int], progress: Progress) -> Iterator[Any]:
        for rows in part.batches(ENCODED_ROWS):
            columns = self.encoder.columns(rows)
            lengths += self.encoder.lengths(columns)
            progress.add(rows.num_rows)
            if self.schema is not None:
                yield _batch(columns, self.schema)


def _batch(columns: Mapping[str, Sequence[Any]], schema: pa.Schema) -> pa.RecordBatch:
    try:
        return pa.RecordBatch.from_pydict(dict(columns), schema)
    except (pa.ArrowException, TypeError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise DataError(f"task.data: rows are encoded to different types: {first}") from error


def _schema(encoder: Encoder, part: Part) -> pa.Schema:
    """Return the types of the encoded columns, by those of the first rows."""
    rows = part.slice(0, FIRST).rows.take(part.index[:FIRST])
    columns = {name: pa.array(values) for name, values in encoder.columns(rows).items()}
    return pa.schema([(name, _small(array.type)) for name, array in columns.items()])


def _small(kind: pa.DataType) -> pa.DataType:
    """Return a type that holds the same: ids and tags need no 64 bits."""
    if pa.types.is_list(kind):
        inner = kind.value_type
        # A list that is empty in all of the first rows may hold ids later.
        is_whole = pa.types.is_int64(inner) or pa.types.is_null(inner)
        return pa.list_(pa.int32() if is_whole else _small(inner))
    return pa.int64() if pa.types.is_null(kind) else kind


def _ranges(rows: int) -> list[tuple[int, int]]:
    """Return where the files of a split begin and end."""
    processes = _processes(rows)
    count = 1 if processes == 1 else processes * FILES_PER_PROCESS
    bounds = np.linspace(0, rows, count + 1).astype(int).tolist()
    return [(low, high) for low, high in itertools.pairwise(bounds) if high > low]


def _processes(rows: int) -> int:
    """Return on how many cores rows are encoded."""
    return max(1, min(_cores(), MAX_PROCESSES, rows // ROWS_PER_PROCESS))


def _cores() -> int:
    if sys.platform != "linux":  # elsewhere a process cannot be forked with what it has loaded
        return 1
    return len(os.sched_getaffinity(0))


_job: _Job | None = None
"""What the processes that are forked from this one work on."""


def _run(
    job: _Job, ranges: Sequence[tuple[int, int]], progress: Progress
) -> Iterator[NDArray[np.int64]]:
    count = len(ranges)
    processes = _processes(len(job.part))
    if processes == 1:
        for number, bounds in enumerate(ranges):
            yield job.encode(number, count, bounds, progress)
        return
    fork = multiprocessing.get_context("fork")
    with _shared(job), ProcessPoolExecutor(processes - 1, mp_context=fork) as pool:
        futures = [pool.submit(_work, i, count, bounds) for i, bounds in enumerate(ranges)]
        # This process takes its share too, from the end, of what no other has begun.
        own = {
            i: job.encode(i, count, ranges[i], progress)
            for i in reversed(range(count))
            if futures[i].cancel()
        }
        for i, (start, stop) in enumerate(ranges):
            if i in own:
                yield own[i]
                continue
            try:
                yield futures[i].result()
            except BrokenProcessPool as error:
                raise DataError(
                    "task.data: a process that encodes rows was killed, most likely because "
                    "memory ran out; give it more, or take fewer rows"
                ) from error
            progress.add(stop - start)


def _work(number: int, count: int, bounds: tuple[int, int]) -> NDArray[np.int64]:
    assert _job is not None
    return _job.encode(number, count, bounds, Progress())


@contextmanager
def _shared(job: _Job) -> Iterator[None]:
    """Let processes that are forked see a job; each of them uses one core."""
    global _job
    before = os.environ.get(_PARALLEL)
    os.environ[_PARALLEL] = "false"
    _job = job
    try:
        yield
    finally:
        _job = None
        if before is None:
            del os.environ[_PARALLEL]
        else:
            os.environ[_PARALLEL] = before


def _sort(folder: Path, schema: pa.Schema, files: Sequence[str], order: Index) -> None:
    """Write the rows of files anew in an order, as one file."""
    tables = []
    for name in files:
        with pa.ipc.open_stream(pa.memory_map(str(folder / name))) as reader:
            tables.append(reader.read_all())
        # The file stays until nothing is mapped to it any more.
        (folder / name).unlink()
    rows = RowTable(pa.concat_tables(tables))
    batches = (rows.take(order[s : s + BATCH]) for s in range(0, len(order), BATCH))
    write_folder(folder, schema, batches, folder.name)
