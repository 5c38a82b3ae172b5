"""How far the preparation of data is: rows done, at most one line a second."""

from __future__ import annotations

import sys
import time
from typing import TextIO

INTERVAL = 1.0


class Progress:
    """Counts rows by stage and tells nobody; those who show them derive from it."""

    def __init__(self) -> None:
        self.stage = ""
        self.done = 0
        self.total: int | None = None

    def start(self, stage: str, total: int | None = None) -> None:
        """Begin a stage.

        Args:
            total: its rows, where they are known.
        """
        self.stage, self.total, self.done = stage, total, 0

    def add(self, rows: int) -> None:
        """Count rows of the stage."""
        self.done += rows

    def end(self) -> None:
        """Say that nothing more will come."""


class ProgressLine(Progress):
    """Writes one line that is written over on a terminal, and one line at a time elsewhere."""

    def __init__(self, stream: TextIO | None = None, interval: float = INTERVAL) -> None:
        super().__init__()
        self._stream = stream or sys.stderr
        self._interval = interval
        self._last = time.monotonic()
        self._width = 0

    def add(self, rows: int) -> None:
        """Count rows, and show them where the last line is old enough."""
        super().add(rows)
        now = time.monotonic()
        if now - self._last >= self._interval:
            self._last = now
            self._write(self._text())

    def end(self) -> None:
        """Clear the line of a terminal."""
        if self._width and self._stream.isatty():
            self._stream.write("\r" + " " * self._width + "\r")
            self._stream.flush()

    def _text(self) -> str:
        of_all = f" of {self.total:,}" if self.total else ""
        return f"{self.stage}: {self.done:,}{of_all} rows"

    def _write(self, text: str) -> None:
        if self._stream.isatty():
            self._stream.write("\r" + text.ljust(self._width))
            self._width = len(text)
        else:
            self._stream.write(text + "\n")
        self._stream.flush()
