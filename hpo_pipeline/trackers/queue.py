"""What is to be sent to trackers, on disk in the run folder: a JSON line for each change.

The file only grows. Each tracker remembers how far it has got (ledger.py). A line that a crash cut
off is skipped: the next writer adds what is missing (tracked_progress.py).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo_pipeline.results.files import validated_or_none
from hpo_pipeline.results.run_state import RunState
from hpo_pipeline.results.trial import Trial
from hpo_pipeline.trackers.interface import RunEntry, TrialEntry

QUEUE_FILE = "queue.jsonl"
Entry = TrialEntry | RunEntry


@dataclass(frozen=True)
class Queued:
    """An entry, and where its line ends in the file, in bytes."""

    entry: Entry
    end: int


class Queue:
    """The queue of a run; one process writes, any may read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / QUEUE_FILE
        self._is_open = False

    def size(self) -> int:
        """Return the length of the file in bytes."""
        try:
            return self._file.stat().st_size
        except FileNotFoundError:
            return 0

    def append(self, entries: Sequence[Entry]) -> None:
        """Add entries.

        Raises:
            OSError: the file cannot be written.
        """
        text = "".join(json.dumps(_written(entry), allow_nan=False) + "\n" for entry in entries)
        if not self._is_open:
            self._folder.mkdir(parents=True, exist_ok=True)
            text = "\n" * self._is_cut_off() + text
            self._is_open = True
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(text)

    def read(self, start: int = 0) -> Iterator[Queued]:
        """Yield the entries from a place on; lines that are damaged are left out."""
        try:
            stream = self._file.open("rb")
        except FileNotFoundError:
            return
        with stream:
            stream.seek(start)
            end = start
            for line in stream:
                if not line.endswith(b"\n"):
                    return  # it is being written, or was cut off
                end += len(line)
                entry = _read(line)
                if entry is not None:
                    yield Queued(entry, end)

    def _is_cut_off(self) -> bool:
        if not self.size():
            return False
        with self._file.open("rb") as stream:
            stream.seek(-1, 2)
            return stream.read() != b"\n"


def merged(queued: Sequence[Queued]) -> list[Queued]:
    """Return the entries with those of the same trial taken together, and the last of the run."""
    trials: dict[str, Queued] = {}
    last: Queued | None = None
    for one in queued:
        if isinstance(one.entry, RunEntry):
            last = one
            continue
        before = trials.get(one.entry.name)
        if before is not None and not one.entry.begins_anew:
            trials[one.entry.name] = Queued(_together(before.entry, one.entry), one.end)
        else:
            trials[one.entry.name] = one
    return [*trials.values(), *([last] if last else [])]


def _together(before: Entry, after: TrialEntry) -> TrialEntry:
    if not isinstance(before, TrialEntry):
        return after
    return dataclasses.replace(
        after,
        points=(*before.points, *after.points),
        ended=after.ended or before.ended,
        begins_anew=before.begins_anew,
    )


def _written(entry: Entry) -> dict[str, Any]:
    if isinstance(entry, RunEntry):
        return {"kind": "run", "time": entry.time, "state": entry.state.to_json()}
    return {"kind": "trial", **dataclasses.asdict(entry)}


def _read(line: bytes) -> Entry | None:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    if data.pop("kind", None) == "run":
        state = data.get("state")
        data["state"] = RunState.known(state) if isinstance(state, dict) else None
        return validated_or_none(RunEntry, data)
    if isinstance(data.get("ended"), dict):
        data["ended"] = Trial.from_json(data["ended"])
    return validated_or_none(TrialEntry, data)
