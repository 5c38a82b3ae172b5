"""Making something once: the first process makes it, the others wait, later ones find it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

WAIT_SECONDS = 0.5
DEAD_SECONDS = 60.0
"""A holder of the lock that gave no sign of life for so long is taken for dead."""


def made_once(found: Callable[[], T | None], make: Callable[[], None], lock: Path) -> T:
    """Return what is found, after it was made where it was not there.

    Those who wait do so as long as the one that makes it gives signs of life. Where a file system
    knows no locks, two may make it at once.

    Args:
        found: returns it where it is there, else None.
        make: makes it, so that `found` finds it.
        lock: a file that is there while it is made.
    """
    while (there := found()) is None:
        if not _take(lock):
            time.sleep(WAIT_SECONDS)
            continue
        ended = threading.Event()
        threading.Thread(target=_keep_alive, args=(lock, ended), daemon=True).start()
        try:
            make()
        finally:
            ended.set()
            lock.unlink(missing_ok=True)
    return there


def _take(lock: Path) -> bool:
    """Take the lock; one whose holder has given no sign of life for long is removed first."""
    try:
        lock.touch(exist_ok=False)
        return True
    except FileExistsError:
        pass
    try:
        # A time in the future is as dead as an old one: the clock was set back.
        is_old = abs(time.time() - lock.stat().st_mtime) > DEAD_SECONDS
    except FileNotFoundError:
        return False
    if is_old:
        lock.unlink(missing_ok=True)
    return False


def _keep_alive(lock: Path, ended: threading.Event) -> None:
    while not ended.wait(DEAD_SECONDS / 5):
        with contextlib.suppress(OSError):
            lock.touch()
