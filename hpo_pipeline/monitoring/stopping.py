"""Stopping a run of this machine from outside, as SIGTERM to its own process does."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from hpo_pipeline.results.run_folder import RunFolder

OURS = ("hpo_pipeline", "hpo")


def stop_run(folder: RunFolder) -> str:
    """Ask the process that holds a run folder to end, and say what came of it.

    The number of the process is in the lock file, which anybody might have written: only a process
    that really holds this file open, and that runs our command, gets the signal.
    """
    if not folder.is_running():
        return "nothing runs there"
    lock = folder.path / "lock"
    try:
        number = int(lock.read_text("utf-8"))
        if number <= 1 or number == os.getpid() or not _holds(number, lock):
            return "the process that holds the run is not on this machine, or is not ours"
        os.kill(number, signal.SIGTERM)
    except (OSError, ValueError) as error:
        return f"it could not be stopped ({error}); press Ctrl-C where it was started"
    return "it was asked to stop; the same command resumes it"


def _holds(number: int, lock: Path) -> bool:
    process = Path("/proc") / str(number)
    words = (process / "cmdline").read_bytes().split(b"\0")
    is_ours = any(Path(word.decode("utf-8", "replace")).name in OURS for word in words)
    wanted = lock.stat()
    for handle in (process / "fd").iterdir():
        try:
            found = handle.stat()
        except OSError:
            continue
        if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
            return is_ours
    return False
