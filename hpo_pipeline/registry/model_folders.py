"""Copies of model folders on a disk: complete or absent, written by one process at a time.

The directory registry and the store of models beside a server use it. It does not know what a
version is.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hpo_pipeline.errors import ModelFilesError, RegistryError
from hpo_pipeline.registry.record import folder_sha256
from hpo_pipeline.results.files import to_disk

DRAFT = ".draft"
LOCK = ".lock"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the last: a limit on the size of files


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Let one process at a time work in a folder, which is created; a dead one holds no lock.

    Raises:
        RegistryError: the folder cannot be written, or the disk is full.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        with (home / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        if error.errno in FULL:
            raise RegistryError(
                f"{home}: the disk is full ({error}); free some space, then run the same command "
                f"again to resume"
            ) from error
        raise RegistryError(f"{home}: must be writable, got: {error}") from error


def check_writable(home: Path) -> None:
    """Check that a folder can be written, or created.

    Raises:
        RegistryError: it cannot.
    """
    there = next(path for path in (home.absolute(), *home.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise RegistryError(f"{home}: must be a folder that can be written, got {there}")


def place(model_folder: Path, target: Path, *, expected: str) -> None:
    """Copy a model so that `target` is complete or absent; only within `alone`.

    Raises:
        RegistryError: the model's hash is not the expected one.
    """
    draft = target.parent / DRAFT
    for left in (draft, target):
        if left.exists():
            shutil.rmtree(left)
    try:
        _copy(model_folder, draft)
        for path in (*draft.rglob("*"), draft):
            to_disk(path)
        check_sha256(draft, expected, named=model_folder)
        draft.rename(target)
        to_disk(target.parent)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def check_sha256(folder: Path, expected: str, *, named: object) -> None:
    """Check that a folder holds the model that was measured.

    Args:
        named: how messages refer to the folder.

    Raises:
        ModelFilesError: the folder is missing or empty, or its files have changed.
    """
    try:
        found = folder_sha256(folder)
    except RegistryError as error:
        raise ModelFilesError(str(error)) from error
    if found != expected:
        raise ModelFilesError(
            f"{named}: sha256 must be {expected}, got {found}; the model has changed"
        )


def _copy(source: Path, target: Path) -> None:
    """Copy the files of a folder; unlike shutil.copytree, stop at the first that fails.

    copytree continues with the other files, then raises a list of texts without their errno.
    """
    target.mkdir()
    for path in sorted(source.rglob("*")):
        copy = target / path.relative_to(source)
        if path.is_dir():
            copy.mkdir(exist_ok=True)
        else:
            shutil.copy2(path, copy)
