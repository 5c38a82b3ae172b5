"""Copies of model folders on a disk: there whole or not at all, made by one process at a time.

Below the directory registry, and the store of models beside a server. It does not know what a
version is.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hpo_pipeline.errors import RegistryError
from hpo_pipeline.registry.record import folder_sha256

DRAFT = ".draft"
LOCK = ".lock"


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Let one process at a time work in a folder, which is made; a dead one holds no lock.

    Raises:
        RegistryError: the folder cannot be written.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        with (home / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise RegistryError(f"{home}: must be writable, got: {error}") from error


def place(model_folder: Path, target: Path, *, expected: str) -> None:
    """Copy a model so that `target` is there whole or not at all; only within `alone`.

    Raises:
        RegistryError: the model's hash is not the expected one.
    """
    draft = target.parent / DRAFT
    for left in (draft, target):
        if left.exists():
            shutil.rmtree(left)
    try:
        shutil.copytree(model_folder, draft)
        for path in (*draft.rglob("*"), draft):
            _to_disk(path)
        check_sha256(draft, expected, named=model_folder)
        draft.rename(target)
        _to_disk(target.parent)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def check_sha256(folder: Path, expected: str, *, named: object) -> None:
    """Check that a folder's content is what was measured.

    Raises:
        RegistryError: it is not; `named` is what the message calls it.
    """
    found = folder_sha256(folder)
    if found != expected:
        raise RegistryError(
            f"{named}: sha256 must be {expected}, got {found}; the model has changed"
        )


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
