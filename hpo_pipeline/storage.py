"""Datasets and results at a place that fsspec opens, where pods share no file system.

    URI/datasets/NAME/…   prepared datasets       URI/runs/EXPERIMENT/trials/NAME/…   results

A trial works in folders of its own and copies at its beginning and end. The driver of a scheme
(s3fs for s3://) must be installed; its credentials come from the environment.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment import Experiment

Prepare = Callable[[Experiment, Path], Path]


class Storage:
    """A place, by its URI."""

    def __init__(self, uri: str) -> None:
        self._uri = uri.rstrip("/")

    def dataset(self, experiment: Experiment, folder: Path, prepare: Prepare) -> Path:
        """Return a local copy of the experiment's dataset, prepared and stored if need be.

        Raises:
            DataError: the place cannot be read or written.
        """
        system, root = self._open()
        pointer = f"{root}/datasets/{experiment.name}-{experiment.identity()[:16]}.json"
        try:
            if system.exists(pointer):
                name: str = json.loads(system.cat_file(pointer))["dataset"]
                system.get(f"{root}/datasets/{name}/", f"{folder / name}/", recursive=True)
                return folder / name
            found = prepare(experiment, folder)
            system.put(f"{found}/", f"{root}/datasets/{found.name}/", recursive=True)
            # Last, so that who finds it finds the whole.
            system.pipe_file(pointer, json.dumps({"dataset": found.name}).encode())
        except OSError as error:
            raise DataError(f"{self._uri}: cannot be read or written ({error})") from error
        return found

    def put_trial(self, folder: Path) -> None:
        """Store the folder of a trial, the result last.

        Raises:
            OSError: it cannot be written.
        """
        system, root = self._open()
        target = f"{root}/{_place(folder)}"
        result = folder / "result.json"
        for file in sorted(folder.rglob("*"), key=lambda file: file == result):
            if file.is_file():
                path = f"{target}/{file.relative_to(folder).as_posix()}"
                system.makedirs(path.rpartition("/")[0], exist_ok=True)
                system.put_file(str(file), path)

    def fetch_trial(self, folder: Path) -> None:
        """Copy the folder of another trial here.

        Raises:
            DataError: it cannot be read.
        """
        system, root = self._open()
        try:
            system.get(f"{root}/{_place(folder)}/", f"{folder}/", recursive=True)
        except OSError as error:
            raise DataError(f"{self._uri}: {folder.name} cannot be read ({error})") from error

    def _open(self) -> tuple[Any, str]:
        import fsspec

        try:
            system, root = fsspec.core.url_to_fs(self._uri)
        except (ImportError, ValueError) as error:
            raise DataError(f"{self._uri}: cannot be opened ({error})") from error
        return system, str(root).rstrip("/")


def _place(folder: Path) -> str:
    """Return where a trial's folder …/runs/EXPERIMENT/trials/NAME lies below the URI."""
    return "/".join(folder.parts[-4:])
