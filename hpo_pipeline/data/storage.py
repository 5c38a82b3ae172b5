"""Datasets and results at a place that fsspec opens, where pods share no file system.

    URI/datasets/NAME/…   prepared datasets       URI/runs/EXPERIMENT/…   results, as in a folder

A trial works in folders of its own and copies at its beginning and end. The driver of a scheme
(s3fs for s3://) must be installed; its credentials come from the environment.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from hpo_pipeline.data.prepare_once import dataset_key, pointed_name
from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.files import RESULT_FILE

Prepare = Callable[[Experiment, Path], Path]


class UriStorage:
    """A place, by its URI."""

    def __init__(self, uri: str) -> None:
        self._uri = uri.rstrip("/")

    def dataset(self, experiment: Experiment, folder: Path, prepare: Prepare) -> Path:
        """Return a local copy of the experiment's dataset, prepared and stored if need be.

        Raises:
            DataError: the place cannot be read or written.
        """
        system, root = self._open()
        pointer = f"{root}/datasets/{dataset_key(experiment)}.json"
        try:
            name = pointed_name(system.cat_file(pointer)) if system.exists(pointer) else None
            if name is not None:
                system.get(f"{root}/datasets/{name}/", f"{folder / name}/", recursive=True)
                return folder / name
            found = prepare(experiment, folder)
            system.put(f"{found}/", f"{root}/datasets/{found.name}/", recursive=True)
            # Last, so that a process that finds it finds the whole dataset.
            system.pipe_file(pointer, json.dumps({"dataset": found.name}).encode())
        except OSError as error:
            raise DataError(f"{self._uri}: cannot be read or written ({error})") from error
        return found

    def put(self, folder: Path) -> None:
        """Store a folder of a run, such as that of a trial; its result comes last.

        Raises:
            OSError: it cannot be written.
        """
        system, root = self._open()
        target = f"{root}/{_place(folder)}"
        result = folder / RESULT_FILE
        for file in sorted(folder.rglob("*"), key=lambda file: file == result):
            if file.is_file():
                path = f"{target}/{file.relative_to(folder).as_posix()}"
                system.makedirs(path.rpartition("/")[0], exist_ok=True)
                system.put_file(str(file), path)

    def fetch(self, folder: Path) -> None:
        """Copy a folder of a run here, whole.

        Raises:
            DataError: it cannot be read.
        """
        system, root = self._open()
        try:
            system.get(f"{root}/{_place(folder)}/", f"{folder}/", recursive=True)
        except OSError as error:
            raise DataError(f"{self._uri}: {folder.name} cannot be read ({error})") from error

    def forget(self, place: Path, keep: Collection[str], parts: Sequence[str]) -> None:
        """Remove parts of the folders in a place, but for those that are kept.

        Raises:
            DataError: they cannot be removed.
        """
        system, root = self._open()
        home = f"{root}/{_place(place)}"
        try:
            found = system.ls(home, detail=False) if system.exists(home) else []
            for path in found:
                name = str(path).rstrip("/").rpartition("/")[2]
                for part in parts if name not in keep else ():
                    if system.exists(f"{home}/{name}/{part}"):
                        system.rm(f"{home}/{name}/{part}", recursive=True)
        except OSError as error:
            raise DataError(f"{self._uri}: models cannot be removed ({error})") from error

    def remove(self, folder: Path) -> bool:
        """Remove a folder of a run and return whether it was there.

        Raises:
            DataError: it cannot be removed.
        """
        system, root = self._open()
        target = f"{root}/{_place(folder)}"
        try:
            if not system.exists(target):
                return False
            system.rm(target, recursive=True)
        except OSError as error:
            raise DataError(f"{self._uri}: {folder.name} cannot be removed ({error})") from error
        return True

    def put_file(self, file: Path) -> None:
        """Store one file of a run.

        Raises:
            OSError: it cannot be written.
        """
        system, root = self._open()
        system.pipe_file(f"{root}/{_place(file)}", file.read_bytes())

    def fetch_file(self, file: Path) -> bool:
        """Copy one file of a run here; return whether there is one.

        Raises:
            DataError: it cannot be read.
        """
        system, root = self._open()
        path = f"{root}/{_place(file)}"
        try:
            if not system.exists(path):
                return False
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(system.cat_file(path))
        except OSError as error:
            raise DataError(f"{self._uri}: {file.name} cannot be read ({error})") from error
        return True

    def _open(self) -> tuple[Any, str]:
        import fsspec

        try:
            system, root = fsspec.core.url_to_fs(self._uri)
        except (ImportError, ValueError) as error:
            raise DataError(f"{self._uri}: cannot be opened ({error})") from error
        return system, str(root).rstrip("/")


def _place(folder: Path) -> str:
    """Return where a folder …/runs/EXPERIMENT/… is below the URI."""
    parts = folder.parts
    start = len(parts) - 1 - parts[::-1].index("runs")
    return "/".join(parts[start:])
