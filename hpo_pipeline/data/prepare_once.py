"""Preparing data once: the first process prepares, the others wait, later ones find the result."""

from __future__ import annotations

import glob
import hashlib
import json
from pathlib import Path

from hpo_pipeline.data.lock import made_once
from hpo_pipeline.data.prepare import FORMAT, prepare
from hpo_pipeline.data.prepared.variants import varied_by
from hpo_pipeline.data.progress import Progress
from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.files import DATASET_FILE, write_json

HASHED_BYTES = 64 * 2**20
"""Files that are together no larger than this count with their content, others with their times."""


def prepared_once(experiment: Experiment, datasets: Path, progress: Progress | None = None) -> Path:
    """Return the prepared dataset of an experiment; of several that ask, one prepares it.

    A dataset that exists is found without reading or encoding the data, by `dataset_key`. Those
    who wait do so as long as the one that prepares gives signs of life. Where a file system knows
    no locks, two may prepare at once: they make the same content, and one of the two is kept.

    Raises:
        DataError: the data cannot be used.
    """
    datasets.mkdir(parents=True, exist_ok=True)
    pointer = datasets / f".{dataset_key(experiment)}.json"

    def make() -> None:
        prepared = prepare(experiment, datasets, progress)
        write_json(pointer, {"dataset": prepared.name})

    return made_once(lambda: _pointed(pointer), make, pointer.with_suffix(".lock"))


def pointed_name(content: bytes) -> str | None:
    """Return the dataset's name in a pointer file; None where the file is half-written or altered.

    A name from a file is the name of a folder beside that file, and never a path.
    """
    try:
        name = json.loads(content)["dataset"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    is_plain = isinstance(name, str) and name not in ("", ".", "..") and Path(name).name == name
    return name if is_plain else None


def _pointed(pointer: Path) -> Path | None:
    try:
        name = pointed_name(pointer.read_bytes())
    except OSError:
        return None
    folder = pointer.parent / (name or "")
    return folder if name and (folder / DATASET_FILE).exists() else None


_DATA_FIELDS = {
    *("kind", "model", "data", "data_version", "columns", "rows"),
    *("from_scratch", "vocab_size", "tokenizer", "config", "settings", "trust_remote_code"),
    *("subset", "revision", "splits", "encoding", "delimiter", "text_rows", "max_bad_rows"),
}


def dataset_key(experiment: Experiment) -> str:
    """Return a hash of what decides what a dataset holds, without preparing it.

    Files count with their content, or with their sizes and times where they are large. Behind a
    hub id or a URI, data may change unseen: that is what `task.data_version` is for.
    """
    task = experiment.task
    content = [
        FORMAT,
        task.model_dump(mode="json", include=_DATA_FIELDS),
        experiment.max_length(),
        {name: experiment.space[f"task.{name}"].model_dump() for name in varied_by(experiment)},
        [state for name in task.sources for state in _file_states(name)],
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _file_states(name: str) -> list[list[str | int]]:
    path = Path(name)
    if not path.is_absolute():
        return []
    try:
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        if not path.exists():  # several, by a pattern
            found = [Path(match) for match in sorted(glob.glob(name, recursive=True))]
        states = [(file, file.stat()) for file in found if file.is_file()]
        if sum(state.st_size for _, state in states) > HASHED_BYTES:
            return [[str(file), state.st_size, state.st_mtime_ns] for file, state in states]
        return [[str(file), hashlib.sha256(file.read_bytes()).hexdigest()] for file, _ in states]
    except OSError as error:
        raise DataError(f"task.data: {path} cannot be read: {error.strerror}") from error
