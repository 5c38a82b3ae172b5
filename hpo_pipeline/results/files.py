"""Names of the files in a run, and the one way to write them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RESULT_FILE = "result.json"


MODEL_FOLDER = "model"


CHECKPOINT_FOLDER = "checkpoint"


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
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
