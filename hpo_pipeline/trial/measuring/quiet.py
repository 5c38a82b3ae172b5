"""A quiet slot: while one trial of this machine is timed, the others of its run stand still.

Two locks of the kernel (flock), which a process that dies gives back, however it dies. A trial that
works has the lock `cores` together with others, and asks for `turn` after each step; who wants to
be timed takes `turn` for itself, so that the others see it and let go of `cores`, then `cores`.
Nobody waits for longer than PATIENCE: then a trial is timed beside others, and says so, and one
that was made to wait works on and gives way no more. So a stuck process costs time, never a trial.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

PATIENCE = 60.0
POLL = 0.02


@dataclass
class QuietSlot:
    """One trial's part in the quiet of a folder; without a folder there is nobody to agree with.

    Attributes:
        waited: seconds that this trial stood still for others.
        was_quiet: whether it was alone each time that it was timed; None before it was.
    """

    folder: Path | None = None
    patience: float = PATIENCE
    waited: float = 0.0
    was_quiet: bool | None = None
    _files: dict[str, int] = field(default_factory=dict)
    _gives_way: bool = True

    def work(self) -> None:
        """Begin to work, when nobody is being timed."""
        if self.folder is None:
            return
        self._open(self.folder)
        self._stand_still()

    def give_way(self) -> None:
        """Stand still while another trial is timed; without one this takes microseconds."""
        if not self._files or not self._gives_way:
            return
        if self._try("turn", fcntl.LOCK_SH):
            self._release("turn")
            return
        self._release("cores")
        self._stand_still()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let the others stand still for the time of the block, which this trial is timed in."""
        if self.folder is None:
            yield
            return
        self._open(self.folder)
        self._release("cores")
        end = time.monotonic() + self.patience
        is_quiet = self._wait("turn", fcntl.LOCK_EX, end) and self._wait(
            "cores", fcntl.LOCK_EX, end
        )
        self.was_quiet = is_quiet and self.was_quiet is not False
        try:
            yield
        finally:
            self._release("cores")
            self._release("turn")
            self._stand_still()

    def end(self) -> None:
        """Work no more."""
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()

    def _open(self, folder: Path) -> None:
        if self._files:
            return
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("turn", "cores"):
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._files[name] = os.open(folder / f"{name}.lock", flags, 0o644)

    def _stand_still(self) -> None:
        """Wait for a turn, and take part of the cores."""
        start = time.monotonic()
        end = start + self.patience
        is_free = self._wait("turn", fcntl.LOCK_SH, end)
        self._gives_way = self._wait("cores", fcntl.LOCK_SH, end) and is_free
        self._release("turn")
        self.waited += time.monotonic() - start

    def _wait(self, name: str, kind: int, end: float) -> bool:
        return _until(lambda: self._try(name, kind), end)

    def _try(self, name: str, kind: int) -> bool:
        try:
            fcntl.flock(self._files[name], kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _release(self, name: str) -> None:
        fcntl.flock(self._files[name], fcntl.LOCK_UN)


def _until(is_done: Callable[[], bool], end: float) -> bool:
    while not is_done():
        if time.monotonic() > end:
            return False
        time.sleep(POLL)
    return True
