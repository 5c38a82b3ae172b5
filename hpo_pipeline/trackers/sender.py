"""Sends the queue of a run to one tracker, each entry until it has arrived."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from itertools import islice
from pathlib import Path

from hpo_pipeline.errors import MonitoringError, Refused
from hpo_pipeline.results.run_folder import RunFolder
from hpo_pipeline.trackers import module_of
from hpo_pipeline.trackers.interface import TrackedRun, Tracker, TrialEntry
from hpo_pipeline.trackers.ledger import JsonLedger
from hpo_pipeline.trackers.queue import Queue, Queued, merged

BATCH = 200
OFFSET = "offset"


class Sender:
    """Sends to one tracker; one at a time for each run and tracker (see `sending`)."""

    def __init__(
        self,
        run: TrackedRun,
        name: str,
        *,
        open_tracker: Callable[[TrackedRun, JsonLedger], Tracker] | None = None,
    ) -> None:
        self._run, self._name = run, name
        self._open = open_tracker or module_of(name).open_tracker
        folder = RunFolder(run.folder).tracking
        self._queue = Queue(folder)
        self._ledger = JsonLedger(ledger_file(folder, name))
        self._tracker: Tracker | None = None
        self.refused: list[str] = []

    def send(self) -> int:
        """Send what is queued by now, and return how many entries that were.

        Raises:
            TrackingError: the tracker takes nothing now; call again later.
        """
        sent = 0
        while batch := list(islice(self._queue.read(self.offset()), BATCH)):
            self._tracker = self._tracker or self._open(self._run, self._ledger)
            for queued in merged([one for one in batch if one.end > self._sent(one)]):
                self._send(self._tracker, queued)
                sent += 1
            self._ledger.set(OFFSET, str(batch[-1].end))
        return sent

    def offset(self) -> int:
        """Return how far into the queue all has been sent, in bytes."""
        return int(self._ledger.get(OFFSET) or 0)

    def has_more(self) -> bool:
        """Return whether the queue has grown."""
        return self._queue.size() > self.offset()

    def close(self) -> None:
        """Close the tracker and the ledger."""
        try:
            if self._tracker is not None:
                self._tracker.close()
        finally:
            self._ledger.close()

    def _sent(self, queued: Queued) -> int:
        """Return how far this trial, or the run, was sent before a batch broke off."""
        return int(self._ledger.get(_mark(queued)) or 0)

    def _send(self, tracker: Tracker, queued: Queued) -> None:
        entry = queued.entry
        try:
            if isinstance(entry, TrialEntry):
                tracker.trial(entry)
            else:
                tracker.run(entry)
        except Refused as error:
            self.refused.append(str(error))
        self._ledger.set(_mark(queued), str(queued.end))


def _mark(queued: Queued) -> str:
    return f"sent {queued.entry.name}" if isinstance(queued.entry, TrialEntry) else "sent"


def ledger_file(folder: Path, name: str) -> Path:
    """Return the file of what a tracker was sent."""
    return folder / f"{name}.jsonl"


def left(folder: Path, name: str) -> int:
    """Return how many entries of the queue in a folder have not been sent to a tracker."""
    file = ledger_file(folder, name)
    if not file.exists():
        return sum(1 for _ in Queue(folder).read())
    ledger = JsonLedger(file)
    ledger.close()
    return sum(1 for _ in Queue(folder).read(int(ledger.get(OFFSET) or 0)))


def waiting(count: int) -> str:
    """Say that so many entries wait."""
    return "1 entry waits" if count == 1 else f"{count} entries wait"


@contextmanager
def sending(folder: Path, name: str, *, waits: bool) -> Iterator[None]:
    """Be the only one that sends a run to a tracker.

    Raises:
        MonitoringError: another process does, and `waits` is false.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("w") as stream:
        try:
            flock(stream, LOCK_EX if waits else LOCK_EX | LOCK_NB)
        except BlockingIOError as error:
            raise MonitoringError(
                f"{folder.parent}: another process sends this run to {name}; wait for it to end"
            ) from error
        yield
