"""The process that sends a run to a tracker, as the run sees it: started, listened to, ended."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from hpo_pipeline.trackers.sender import left, waiting

PATIENCE_SECONDS = 60.0
"""How long the end of a run waits for a tracker that takes what it is sent."""
POLL_SECONDS = 0.05


class SenderProcess:
    """One tracker's process; the run never waits for it."""

    def __init__(self, folder: Path, tracking: Path, name: str, say: Callable[[str], None]) -> None:
        self._folder, self._tracking, self._name, self._say = folder, tracking, name, say
        self._failing: str | None = None
        self._has_complained = False
        tracking.mkdir(parents=True, exist_ok=True)
        self._log = (tracking / f"{name}.log").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "hpo_pipeline.trackers", str(folder), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,  # Ctrl-C is for the run, which then closes this
        )
        self._listener = threading.Thread(target=self._listen, daemon=True, name=f"track {name}")
        self._listener.start()

    def close(self, *, patience: float = PATIENCE_SECONDS) -> None:
        """Let it send what is left, for as long as the tracker takes it; then end it."""
        process = self._process
        with contextlib.suppress(OSError):
            process.stdin.close()  # type: ignore[union-attr]
        end = time.monotonic() + patience
        while process.poll() is None and time.monotonic() < end and self._failing is None:
            time.sleep(POLL_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            process.wait(POLL_SECONDS * 40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._listener.join()
        if process.stdout is not None:
            process.stdout.close()
        self._log.close()
        if count := left(self._tracking, self._name):
            why = f" ({self._failing})" if self._failing and not self._has_complained else ""
            waits = waiting(count)
            self._say(f"{self._name}: {waits} to be sent{why}: `hpo track {self._folder}`")

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            try:
                said = json.loads(line)
            except ValueError:
                continue  # a client that prints
            if not isinstance(said, dict):
                continue
            if refused := said.get("refused"):
                self._say(f"{self._name}: {refused}")
            if "failing" in said:
                self._failing = said["failing"]
                if self._failing and not self._has_complained:
                    self._has_complained = True
                    self._say(f"{self._name}: {self._failing}; it is tried again later")
