"""`check` and `prepare` as one job: what must be right before any trial starts.

It runs in a process of its own, so that the process that follows a search needs neither torch
nor datasets.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from hpo_pipeline.answer import error_answer, write_answer
from hpo_pipeline.errors import ExperimentError, HpoError
from hpo_pipeline.experiment import Experiment
from hpo_pipeline.experiment_file import load
from hpo_pipeline.prepare import DatasetMeta, prepare
from hpo_pipeline.results import DATASET_FILE, write_json
from hpo_pipeline.storage import Storage, dataset_key
from hpo_pipeline.tasks.checking import argument_faults

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


def main(argv: Sequence[str]) -> int:
    """Check an experiment, prepare its data, and say where they are or what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m hpo_pipeline.trial.preparation")
    parser.add_argument("--experiment", type=Path, required=True)
    parser.add_argument("--source", required=True, help="name of the file for messages")
    parser.add_argument("--datasets", type=Path, required=True, help="folder of all datasets")
    parser.add_argument("--shared", action="store_true", help="others may prepare them too")
    parser.add_argument("--storage", metavar="URI", help="place of datasets, for all")
    parser.add_argument("--out", type=Path, required=True, help="gets the answer, JSON")
    options = parser.parse_args(argv)
    try:
        experiment = load(options.experiment)
        faults = argument_faults(dict(experiment))
        if faults:
            raise ExperimentError(options.source, faults)
        options.datasets.mkdir(parents=True, exist_ok=True)
        folder = _prepared(experiment, options)
        meta = DatasetMeta.read(folder)
    except HpoError as error:
        write_answer(options.out, error_answer(error))
        return error.exit_code
    except OSError as error:
        write_answer(options.out, {"error": str(error), "exit_code": 1})
        return 1
    facts = {name: getattr(meta, name) for name in ("fingerprint", "source", "rows", "labels")}
    write_answer(options.out, {"dataset": str(folder), **facts}, spare=("labels",))
    return 0


def _prepared(experiment: Experiment, options: argparse.Namespace) -> Path:
    if options.storage is not None:
        return Storage(options.storage).dataset(experiment, options.datasets, prepared_once)
    return (prepared_once if options.shared else prepare)(experiment, options.datasets)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
