"""The journal file in which a search of this machine outlives its process.

A journal has one writer: the engine holds the lock of the run folder while a study is open.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock


def open_journal(path: Path) -> BaseStorage:
    """Open (or begin) the journal file of a study, after repairing what a crash left of it.

    Optuna reads past an unfinished last line, but would append to it and never read again; and
    the lock of a killed writer would make the next one wait for 30 s.
    """
    lock = JournalFileOpenLock(str(path))
    Path(lock._lock_file).unlink(missing_ok=True)
    if path.exists():
        _cut_unfinished_line(path)
    return JournalStorage(_UnforcedJournal(str(path), lock_obj=lock))


def read_journal(path: Path) -> BaseStorage:
    """Open the journal file of a study that another process may be writing; nothing is changed."""
    return JournalStorage(_ReadOnlyJournal(str(path)))


class _ReadOnlyJournal(JournalFileBackend):
    """A journal that refuses every change."""

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Refuse lines: they would be taken for those of the search."""
        raise PermissionError("the journal of a run is shown only: nothing in it can be changed")


class _UnforcedJournal(JournalFileBackend):
    """A journal whose lines are not forced to the disk one by one, of which a trial has a dozen.

    What a killed process has written is in the kernel and lasts. What a power cut takes, the run
    rebuilds from the results of its trials, which are forced to the disk.
    """

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add lines; there is no other writer to wait for."""
        lines = [json.dumps(log, separators=(",", ":")) + "\n" for log in logs]
        with Path(self._file_path).open("ab") as stream:
            stream.write("".join(lines).encode())


def _cut_unfinished_line(path: Path) -> None:
    with path.open("r+b") as stream:
        good = 0
        for line in stream:
            if not line.endswith(b"\n") or not _is_json(line):
                break
            good += len(line)
        stream.truncate(good)


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
