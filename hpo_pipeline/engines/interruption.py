"""Ctrl-C and SIGTERM as events: the first ends the run in order, the second at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from hpo_pipeline.errors import HpoError


class Interrupted(HpoError):
    """The user, or the system, asked the run to end; it can be resumed later."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.exit_code = 128 + number
        self.has_advice = False

    def with_advice(self, advice: str) -> Interrupted:
        """Return the same with what the user can do now."""
        found = Interrupted(self.exit_code - 128)
        found.args = (f"{self}; {advice}",)
        found.has_advice = True
        return found


class Interruption:
    """Remembers the first signal; `wake` becomes readable when it comes."""

    def __init__(self) -> None:
        self.wake, self._write = os.pipe()
        self._number: int | None = None

    def check(self) -> None:
        """Raise Interrupted if a signal came."""
        if self._number is not None:
            raise Interrupted(self._number)

    def _on_signal(self, number: int, frame: object) -> None:
        if self._number is not None:
            os._exit(128 + number)  # the server and the trials die with this process
        self._number = number
        os.write(self._write, b".")

    @contextmanager
    def installed(self) -> Iterator[Interruption]:
        """Catch the signals for as long as the block runs.

        In a thread other than the main one Python delivers no signals, so nothing is caught.
        """
        is_main = threading.current_thread() is threading.main_thread()
        numbers = (signal.SIGINT, signal.SIGTERM) if is_main else ()
        before = {number: signal.signal(number, self._on_signal) for number in numbers}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self.wake)
            os.close(self._write)
