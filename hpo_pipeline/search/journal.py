"""The journal file in which a search of this machine outlives its process.

A journal has one writer: the engine holds the lock of the run folder while a study is open.
"""

from __future__ import annotations

import itertools
import json
from collections import deque
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState


def open_journal(path: Path) -> BaseStorage:
    """Open (or begin) the journal file of a study, after repairing what a crash left of it.

    Optuna reads past an unfinished last line, but would append to it and never read again; and
    the lock of a killed writer would make the next one wait for 30 s.
    """
    lock = JournalFileOpenLock(str(path))
    Path(lock._lock_file).unlink(missing_ok=True)
    if path.exists():
        _cut_unfinished_line(path)
    return _OneWriterStorage(_UnforcedJournal(str(path), lock_obj=lock))


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
    rebuilds from the results of its trials, which are forced to the disk. Optuna reads back each
    line that it has written, from the file; as there is no other writer, ours hands them back.
    """

    def __init__(self, *arguments: Any, **others: Any) -> None:
        super().__init__(*arguments, **others)
        self._read = -1
        self._unread: deque[str] = deque()

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add lines; there is no other writer to wait for."""
        lines = [json.dumps(log, separators=(",", ":")) + "\n" for log in logs]
        with Path(self._file_path).open("ab") as stream:
            stream.write("".join(lines).encode())
        self._unread.extend(lines)

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        """Yield what was added since the last time; the first time, what the file holds."""
        if log_number_from != self._read:
            self._unread.clear()
            self._read = log_number_from
            for log in super().read_logs(log_number_from):
                self._read += 1
                yield log
            return
        while self._unread:
            self._read += 1
            yield json.loads(self._unread.popleft())


class _OneWriterStorage(JournalStorage):
    """A storage that does not look at all trials each time some are asked for.

    Trials wait from when they are enqueued until they are asked for, and never again; one that has
    ended does not change any more.
    """

    def __init__(self, backend: _UnforcedJournal) -> None:
        self._begun: dict[int, int] = {}
        self._ended: dict[int, list[FrozenTrial]] = {}
        super().__init__(backend)

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Return the trials of a study."""
        is_quick = not deepcopy and (states is None or states == (TrialState.WAITING,))
        if not is_quick:
            return super().get_all_trials(study_id, deepcopy, states)
        with self._thread_lock:
            self._sync_with_backend()
            known = self._replay_result
            if study_id not in known._studies:
                raise KeyError(f"no study has the id {study_id}")
            ids = known._study_id_to_trial_ids[study_id]
            if states is None:
                return self._all(study_id, ids)
            first = self._begun.get(study_id, 0)
            while first < len(ids) and known._trials[ids[first]].state != TrialState.WAITING:
                first += 1
            self._begun[study_id] = first
            left = (known._trials[i] for i in ids[first:])
            return [trial for trial in left if trial.state == TrialState.WAITING]

    def _all(self, study_id: int, ids: list[int]) -> list[FrozenTrial]:
        """Return the trials of a study; those up to the first that lives are remembered."""
        known, ended = self._replay_result._trials, self._ended.setdefault(study_id, [])
        found = ended + list(map(known.__getitem__, ids[len(ended) :]))
        new = found[len(ended) :]
        ended += itertools.takewhile(lambda trial: trial.state.is_finished(), new)
        return found


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
