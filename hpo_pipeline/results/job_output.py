"""What a job says when it has ended: one JSON object in a file, which whoever started it reads.

In a pod the file is the termination message, which stays in the pod's status when the pod's file
system is gone, and may have 4096 bytes. Writer and reader stand here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpo_pipeline.errors import BackendError, DataError, HpoError
from hpo_pipeline.results.files import write_json

TERMINATION_MESSAGE = Path("/dev/termination-log")
MAX_BYTES = 4096
ERROR, EXIT_CODE = "error", "exit_code"


def write_answer(path: Path, content: Mapping[str, Any], *, spare: Sequence[str] = ()) -> None:
    """Write an answer; into a termination message goes what fits.

    Args:
        spare: the entries to leave out where it is too long, the first one first.

    Raises:
        BackendError: it does not fit even so.
        OSError: the file cannot be written.
    """
    if not _is_device(path):
        write_json(path, content)
        return
    kept = dict(content)
    for name in (None, *spare):
        kept.pop(name or "", None)
        text = json.dumps(kept, separators=(",", ":"), allow_nan=False)
        if len(text.encode()) <= MAX_BYTES:
            path.write_text(text, "utf-8")  # it cannot be replaced, only written
            return
    raise BackendError(f"an answer may have {MAX_BYTES} bytes, got {len(text.encode())}")


def error_answer(error: HpoError) -> dict[str, Any]:
    """Return the answer of a job that could not do its work."""
    return {ERROR: str(error)[: MAX_BYTES // 2], EXIT_CODE: error.exit_code}


def checked(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer that is none of an error.

    Raises:
        HpoError: the error that the job ended with; one of the input where it was one.
    """
    if ERROR not in content:
        return dict(content)
    code = content.get(EXIT_CODE, 1)
    error: HpoError = DataError(content[ERROR]) if code == 2 else BackendError(content[ERROR])
    error.exit_code = code
    raise error


def read_answer(path: Path) -> dict[str, Any]:
    """Return what a job wrote.

    Raises:
        HpoError: the error that it ended with.
        FileNotFoundError: it wrote nothing.
    """
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return checked(content)


def _is_device(path: Path) -> bool:
    """Tell whether a file is there for one message: the kubelet made it, in a folder of its own."""
    return path == TERMINATION_MESSAGE or os.path.ismount(path)
