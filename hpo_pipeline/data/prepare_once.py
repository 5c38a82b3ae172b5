"""`check` and `prepare` as one job: what must be right before any trial starts.

It runs in a process of its own, so that the process that follows a search needs neither torch
nor datasets.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from pathlib import Path

from hpo_pipeline.data.prepare import prepare
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.files import DATASET_FILE, write_json

WAIT_SECONDS = 0.5
DEAD_SECONDS = 60.0
"""A holder of the lock that gave no sign of life for so long is taken for dead."""


def prepared_once(experiment: Experiment, datasets: Path) -> Path:
    """Return the prepared dataset of an experiment; of several that ask, one prepares it.

    What is there already is found without reading the data, by a hash of what the experiment
    says of them and of the sizes and times of their files. The others wait for the one, as long
    as it gives signs of life; whoever comes in between makes the same content, so that nothing
    is lost where a file system knows no locks.

    Raises:
        DataError: the data cannot be used.
    """
    datasets.mkdir(parents=True, exist_ok=True)
    pointer = datasets / f".{dataset_key(experiment)}.json"
    lock = pointer.with_suffix(".lock")
    while (folder := _pointed(pointer)) is None:
        if not _take(lock):
            time.sleep(WAIT_SECONDS)
            continue
        ended = threading.Event()
        threading.Thread(target=_keep_alive, args=(lock, ended), daemon=True).start()
        try:
            prepared = prepare(experiment, datasets)
            write_json(pointer, {"dataset": prepared.name})
        finally:
            ended.set()
            lock.unlink(missing_ok=True)
    return folder


def _pointed(pointer: Path) -> Path | None:
    try:
        folder = pointer.parent / json.loads(pointer.read_text("utf-8"))["dataset"]
    except FileNotFoundError:
        return None
    return folder if (folder / DATASET_FILE).exists() else None


def _take(lock: Path) -> bool:
    """Take the lock, which is free where its holder has given no sign of life for long."""
    try:
        lock.touch(exist_ok=False)
        return True
    except FileExistsError:
        pass
    try:
        is_old = time.time() - lock.stat().st_mtime > DEAD_SECONDS
    except FileNotFoundError:
        return False
    if is_old:
        lock.unlink(missing_ok=True)
    return False


def _keep_alive(lock: Path, ended: threading.Event) -> None:
    while not ended.wait(DEAD_SECONDS / 5):
        with contextlib.suppress(OSError):
            lock.touch()


_DATA_FIELDS = {
    *("kind", "model", "data", "data_version", "columns", "rows"),
    *("from_scratch", "vocab_size", "config"),
}


def dataset_key(experiment: Experiment) -> str:
    """Return a hash of what decides what a dataset holds, without opening the data.

    Files count with their sizes and times. Behind a hub id or a URI, data may change unseen:
    that is what `task.data_version` is for.
    """
    task = experiment.task
    path = Path(task.data)
    files = []
    if path.is_absolute():
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        states = [(file, file.stat()) for file in found if file.is_file()]
        files = [[str(file), state.st_size, state.st_mtime_ns] for file, state in states]
    content = [task.model_dump(mode="json", include=_DATA_FIELDS), experiment.max_length(), files]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
