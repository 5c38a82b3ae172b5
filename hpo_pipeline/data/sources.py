"""From `task.data` to tables of input and label: an asset, a URI, a file, a folder, or the hub.

The first step of the prepare stage. The kind of task says which of its ways to read is meant.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd

from hpo_pipeline.data import assets
from hpo_pipeline.data.asset_tables import DIGITS, read_digits, read_sentences
from hpo_pipeline.data.assets.source import model_source
from hpo_pipeline.data.folders import image_files, split_files
from hpo_pipeline.data.hub import read_hub
from hpo_pipeline.data.images import decode_images, fit_pixels
from hpo_pipeline.data.labels import label_text
from hpo_pipeline.data.readers.raw_table import MAX_BYTES
from hpo_pipeline.data.tables import Tables, tables_from_files
from hpo_pipeline.data.tally import Tally
from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.tasks import TASKS


def read_tables(task: Task) -> Tables:
    """Read the data of a task, as its kind wants them read.

    Raises:
        DataError: there are no such data, they are of another form, or they lack a column.
    """
    found: Tables = TASKS[task.kind].read(task, Source(task))
    return found


@dataclass(frozen=True)
class Source:
    """The ways to read `task.data` that a kind of task chooses from (tasks.kind.DataSource)."""

    task: Task

    def rows(self) -> Tables:
        """Read a text column and a label column."""
        path = Path(self.task.data)
        if path.is_absolute():  # the reader of the experiment file has made every path so
            return _read_path(self.task, path)
        if self.task.data in assets.ASSETS:
            return read_sentences(self.task)
        if "://" in self.task.data:
            contents = {"train": [(shown_uri(self.task.data), _read_uri(self.task.data))]}
            return tables_from_files(self.task.columns, contents)
        return read_hub(self.task)

    def images(self, *, size: tuple[int, int] | None, channels: int | None) -> Tables:
        """Read a folder of images for each label."""
        if self.task.data == DIGITS:
            digits = read_digits()
            assert digits.shape is not None
            table = digits.tables["train"]
            fitted = fit_pixels(list(table["input"]), digits.shape, size=size, channels=channels)
            tables = {"train": table.assign(input=fitted.pixels)}
            return replace(digits, tables=tables, shape=fitted.shape, notes=fitted.notes)
        folder = Path(self.task.data)
        if not (folder.is_absolute() and folder.is_dir()):
            raise DataError(
                f"task.data: {self.task.kind} reads a folder with a folder of images for each "
                f"label, or the asset {DIGITS}; {self.task.data!r} is neither"
            )
        return _read_images(folder, size=size, channels=channels)

    def model(self) -> str:
        """Return the folder or hub id of the base model."""
        return model_source(self.task.model)


def shown_uri(uri: str) -> str:
    """Return a URI without the parts that may hold a password or a signature."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _read_path(task: Task, path: Path) -> Tables:
    try:
        if path.is_file():
            return tables_from_files(task.columns, {"train": [(path.name, _content(path))]})
        if not path.is_dir():
            raise DataError(f"task.data: there is no file or directory {path}")
        found = split_files(path)
        contents = {
            split: [(file.name, _content(file)) for file in files]
            for split, files in found.files.items()
        }
    except OSError as error:
        raise DataError(f"task.data: {path} cannot be read: {error.strerror}") from error
    return tables_from_files(task.columns, contents, source=path.name, notes=found.notes)


def _content(path: Path) -> bytes:
    _check_size(path.name, path.stat().st_size)
    return path.read_bytes()


def _check_size(name: str, size: int) -> None:
    if size > MAX_BYTES:
        raise DataError(
            f"task.data: {name} has {size:,} bytes, and {MAX_BYTES:,} are allowed; take a sample"
        )


def _read_uri(uri: str) -> bytes:
    import fsspec

    try:
        with fsspec.open(uri, "rb") as stream:
            content: bytes = stream.read(MAX_BYTES + 1)
    except (ImportError, ValueError, OSError) as error:
        raise DataError(f"task.data: {shown_uri(uri)} cannot be read: {error}") from error
    _check_size(shown_uri(uri), len(content))
    return content


def _read_images(folder: Path, *, size: tuple[int, int] | None, channels: int | None) -> Tables:
    try:
        files, notes = image_files(folder)
    except OSError as error:
        raise DataError(f"task.data: {folder} cannot be read: {error.strerror}") from error
    every = [path for paths in files.values() for path in paths]
    images = decode_images(every, size=size, channels=channels)
    pixels = iter(images.pixels)
    digest = hashlib.sha256()
    tables: dict[str, pd.DataFrame] = {}
    for split, paths in files.items():
        inputs = [next(pixels) for _ in paths]
        for path in paths:  # the files, not the pixels, which depend on the model's size
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        labels = [label_text(path.parent.name) or path.parent.name for path in paths]
        tables[split] = pd.DataFrame({"input": inputs, "label": labels})
        digest.update("\0".join((split, *labels)).encode())
    return Tables(
        folder.name,
        digest.hexdigest(),
        tables,
        shape=images.shape,
        tallies={split: Tally(read=len(table)) for split, table in tables.items()},
        notes=(*notes, *images.notes),
    )
