"""Names of the files in a run, and the one way to write them."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from hpo_pipeline.errors import RunFolderError

T = TypeVar("T")

PlainName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=255)]
"""A name that becomes a folder: no text that was read from a file leads out of the run."""

RESULT_FILE = "result.json"
MODEL_FOLDER = "model"
CHECKPOINT_FOLDER = "checkpoint"
RESUME_FOLDER = "resume"
"""Where a trial without a result keeps what it needs to resume; removed with its result."""
TRAINER_FOLDER = ".trainer"
"""What the Trainer makes for checkpoints where none are kept; it is empty."""
DATASET_FILE = "dataset.json"
DISK_FULL_EXIT = 74
"""Exit code of a trial that could not write: sysexits' EX_IOERR."""


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a JSON file so that a reader sees the old or the new content, never half of it.

    Raises:
        ValueError: a number is not finite.
        OSError: the file cannot be written; what was there before is still there.
    """
    text = json.dumps(data, indent=1, allow_nan=False)
    # In pods that share a file system, every process may have the number 1.
    draft = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        FileNotFoundError: there is no such file.
        RunFolderError: it cannot be read, or does not hold a JSON object.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(content, dict):
        raise _damaged(path, "it does not hold a JSON object")
    return content


def to_disk(path: Path) -> None:
    """Make a file, or the names in a folder, last."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def validated(kind: type[T], data: Mapping[str, Any], path: Path) -> T:
    """Return a value of a dataclass from plain data that was read from a file.

    Raises:
        RunFolderError: an entry is missing or has another type; the message names both.
    """
    try:
        found: T = _adapter(kind).validate_python(data)
        return found
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "content"
        raise _damaged(path, f"{place}: {first['msg'].lower()}") from error


def validated_or_none(kind: type[T], data: object) -> T | None:
    """Return a value of a dataclass, or None where the data are not one."""
    try:
        found: T = _adapter(kind).validate_python(data)
        return found
    except ValidationError:
        return None


def _damaged(path: Path, why: str) -> RunFolderError:
    return RunFolderError(
        f"{path}: is damaged ({why}); restore it from a copy, or choose another run folder with "
        f"--run"
    )


_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


def _adapter(kind: Any) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]
