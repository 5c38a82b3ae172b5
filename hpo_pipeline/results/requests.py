"""What people ask of a run while it goes on: an empty file for each request in its folder.

The live page writes them, the search loop looks for them. Only who may write to the run folder can
ask, and a request names a trial, nothing else.
"""

from __future__ import annotations

import re
from pathlib import Path

STOP = "stop."
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,250}")


def ask_to_stop(requests: Path, trial: str) -> None:
    """Ask for a trial to be stopped.

    Raises:
        ValueError: that is no name of a trial.
        OSError: the folder cannot be written.
    """
    if not _NAME.fullmatch(trial):
        raise ValueError(f"no name of a trial: {trial!r:.80}")
    requests.mkdir(exist_ok=True)
    (requests / (STOP + trial)).touch()


def take_stops(requests: Path) -> list[str]:
    """Return the trials that are to be stopped, and forget that."""
    try:
        found = [path for path in requests.iterdir() if path.name.startswith(STOP)]
    except FileNotFoundError:
        return []
    for path in found:
        path.unlink(missing_ok=True)
    return sorted(path.name.removeprefix(STOP) for path in found)
