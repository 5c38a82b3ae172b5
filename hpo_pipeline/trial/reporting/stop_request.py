"""How a trial is asked to stop early, and what any other SIGTERM means.

A stopped trial leaves a result, which ranks among the others. A trial that is cut off must leave
none: its pod was evicted or preempted, or its job was deleted, and it will run again from the start
or is not wanted any more. Both come as SIGTERM, so the sender has to be known:

| who sends SIGTERM                  | what it means                                    |
| ---------------------------------- | ------------------------------------------------ |
| the engine of this machine         | stop early: the time budget is over (`--channel`) |
| Katib's metrics collector          | stop early; it says so in a file first           |
| Kubernetes, or anybody else        | cut off: leave no result, exit with 143          |

While a training saves checkpoints, a cut-off waits for the end of its step, so that it can be
saved; Kubernetes kills the pod where that takes longer than its grace.

Our stopping service does not send signals: it answers the trial's reports.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

CUT_OFF_EXIT = 128 + signal.SIGTERM
COLLECTOR_MARKS = Path("/var/log/katib")
EARLY_STOPPED = "early-stopped"


class StopRequest:
    """Handles SIGTERM, and remembers whether the trial was asked to stop early.

    Args:
        is_told_by_signal: whether SIGTERM comes from the engine and asks for an early stop.
        marks: where Katib's metrics collector says that it stops a process.
    """

    def __init__(self, *, is_told_by_signal: bool, marks: Path = COLLECTOR_MARKS) -> None:
        self._is_told_by_signal = is_told_by_signal
        self._marks = marks
        self._asked = False
        self._is_held = False
        self.is_cut_off = False
        self._others: list[Callable[[], bool]] = []
        signal.signal(signal.SIGTERM, self._on_signal)

    def also(self, is_asked: Callable[[], bool]) -> None:
        """Stop early where another source says so too."""
        self._others.append(is_asked)

    def is_asked(self) -> bool:
        """Return whether the trial should stop early and leave its result."""
        return self._asked or any(other() for other in self._others)

    def hold(self) -> None:
        """Have the first cut-off only set `is_cut_off`: the training saves itself and exits."""
        self._is_held = True

    def release(self) -> None:
        """Let a cut-off end the process at once; one that has come does so now."""
        self._is_held = False
        if self.is_cut_off:
            self._exit()

    def ignore(self) -> None:
        """Ignore SIGTERM from now on: the result is written."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def _on_signal(self, number: int, frame: object) -> None:
        if self._is_told_by_signal or self._is_told_by_collector():
            self._asked = True
            return
        if self._is_held and not self.is_cut_off:
            self.is_cut_off = True
            return
        self._exit()

    def _exit(self) -> NoReturn:
        print("cut off by SIGTERM: this trial leaves no result", file=sys.stderr, flush=True)
        # Not an exception: a library could catch it, and a clean-up could write a result.
        os._exit(CUT_OFF_EXIT)

    def _is_told_by_collector(self) -> bool:
        """Return whether Katib's collector marked the shell that runs this trial as stopped.

        It writes the mark just before it sends the signal (file-metricscollector/main.go).
        """
        try:
            mark = (self._marks / f"{os.getppid()}.pid").read_text("utf-8")
        except (OSError, ValueError):
            return False
        return mark.partition("\n")[0].strip() == EARLY_STOPPED
