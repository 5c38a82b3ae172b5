"""From `task.data` to tables of input and label: an asset, URIs, files, a folder, or the hub.

The first step of the prepare stage. The kind of task says which of its ways to read is meant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hpo_pipeline.data import assets
from hpo_pipeline.data.assets.source import model_source
from hpo_pipeline.data.cleaning.values import Rules
from hpo_pipeline.data.progress import Progress
from hpo_pipeline.data.readers import TEXT_SUFFIXES, data_suffix
from hpo_pipeline.data.readers.source_file import BadRows, SourceFile
from hpo_pipeline.data.tables.asset_tables import DIGITS, read_digits, read_sentences
from hpo_pipeline.data.tables.by_split import Tables, tables_from_files
from hpo_pipeline.data.tables.folders import by_split, matching_files, split_files
from hpo_pipeline.data.tables.hub import is_saved, read_hub, read_saved
from hpo_pipeline.data.tables.idx_folder import is_idx, read_idx
from hpo_pipeline.data.tables.image_tables import decoded, fitted, read_images
from hpo_pipeline.data.tables.opening import check_size, copied
from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.tasks import TASKS

_SIGNS = "*?["


def read_tables(task: Task, progress: Progress | None = None) -> Tables:
    """Read the data of a task, as its kind wants them read.

    Raises:
        DataError: there are no such data, they are of another form, or they lack a column.
    """
    found: Tables = TASKS[task.kind].read(task, Source(task, progress or Progress()))
    return found


@dataclass(frozen=True)
class Source:
    """The ways to read `task.data` that a kind of task chooses from (tasks.kind.DataSource)."""

    task: Task
    progress: Progress = field(default_factory=Progress)

    def rows(self) -> Tables:
        """Read the columns that the kind's form asks for."""
        task, names = self.task, self.task.sources
        uris = [name for name in names if "://" in name]
        if uris and len(uris) < len(names):
            raise DataError("task.data: paths and URIs cannot be mixed; name one or the other")
        if uris:
            with copied(uris) as files:
                return self._files({"train": files}, {})
        paths = [Path(name) for name in names]
        if all(path.is_absolute() for path in paths):  # the reader of the file has made them so
            return self._paths(paths)
        if len(names) > 1:
            raise DataError(
                f"task.data: several names must all be files, and "
                f"{next(n for n in names if not Path(n).is_absolute())!r} is none"
            )
        if task.data in assets.ASSETS:
            return read_sentences(task)
        return read_hub(task, self._rules())

    def images(self, *, size: tuple[int, int] | None, channels: int | None) -> Tables:
        """Read a folder of images for each label, or a column of images and one of labels."""
        task = self.task
        if task.data == DIGITS:
            return fitted(read_digits(), size=size, channels=channels)
        folder = Path(task.sources[0])
        bad = BadRows(task.max_bad_rows)
        if not folder.is_dir() or not folder.is_absolute() or is_saved(folder):
            if task.data in assets.ASSETS or data_suffix(task.sources[0]) in TEXT_SUFFIXES:
                raise DataError(
                    f"task.data: {task.kind} reads a folder with a folder of images for each "
                    f"label, files like MNIST's, a column of images in parquet or Arrow files, "
                    f"a saved data set, one "
                    f"of the hub, or the asset {DIGITS}; {task.data!r} is none of these"
                )
            return decoded(self.rows(), bad, self.progress, size=size, channels=channels)
        try:
            has_idx = is_idx(folder)
        except OSError as error:
            raise DataError(f"task.data: {folder} cannot be read: {error.strerror}") from error
        if has_idx:
            return fitted(read_idx(folder, self.progress), size=size, channels=channels)
        return read_images(folder, bad, self.progress, size=size, channels=channels)

    def model(self) -> str:
        """Return the folder or hub id of the base model."""
        return model_source(self.task.model)

    def _paths(self, paths: Sequence[Path]) -> Tables:
        if len(paths) == 1 and paths[0].is_dir():
            return self._folder(paths[0])
        found: list[Path] = []
        try:
            for path in paths:
                if any(sign in str(path) for sign in _SIGNS) and not path.exists():
                    found += matching_files(str(path))
                elif path.is_file():
                    found.append(path)
                else:
                    what = "is a folder, which must be named alone" if path.is_dir() else ""
                    raise DataError(
                        f"task.data: {path} {what}"
                        if what
                        else f"task.data: there is no file or directory {path}"
                    )
        except OSError as error:
            raise DataError(f"task.data: {paths[0]} cannot be read: {error.strerror}") from error
        files = {"train": found} if len(found) == 1 else by_split(list(dict.fromkeys(found)))
        named = {s: [(path.name, path) for path in paths] for s, paths in files.items()}
        return self._files(named, {})

    def _folder(self, folder: Path) -> Tables:
        if is_saved(folder):
            return read_saved(self.task, self._rules(), folder)
        try:
            found = split_files(folder)
        except OSError as error:
            raise DataError(f"task.data: {folder} cannot be read: {error.strerror}") from error
        named = {s: [(path.name, path) for path in paths] for s, paths in found.files.items()}
        read = self._files(named, {"source": folder.name})
        return replace(read, notes=(*found.notes, *read.notes))

    def _files(
        self, files: Mapping[str, Sequence[tuple[str, Path]]], shown: Mapping[str, str]
    ) -> Tables:
        task, rules = self.task, self._rules()
        opened: dict[str, list[SourceFile]] = {}
        for split, named in files.items():
            opened[split] = []
            for name, path in named:
                try:
                    check_size(name, path.stat().st_size)
                except OSError as error:
                    raise DataError(
                        f"task.data: {path} cannot be read: {error.strerror}"
                    ) from error
                file = SourceFile(
                    path,
                    name,
                    task.encoding,
                    task.delimiter,
                    paragraphs=task.text_rows == "paragraphs",
                    bad_rows=rules.bad_rows,
                )
                opened[split].append(file)
        try:
            return tables_from_files(task.columns, opened, rules, source=shown.get("source", ""))
        except OSError as error:
            raise DataError(f"task.data: {error.filename} cannot be read: {error}") from error

    def _rules(self) -> Rules:
        task = self.task
        form = TASKS[task.kind].form(task)
        return Rules(form, task.columns.separator, BadRows(task.max_bad_rows), self.progress)
