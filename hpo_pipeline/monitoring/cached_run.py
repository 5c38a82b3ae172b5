"""One run folder, read again only where it has changed.

A finished trial never changes unless its file does, so of ten thousand trials only the dates of
files are looked at again; of a run that is over and that nobody holds, not even those.
"""

from __future__ import annotations

import gc
import math
import os
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from hpo_pipeline.errors import HpoError
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.files import RESULT_FILE
from hpo_pipeline.results.run_folder import RunFolder
from hpo_pipeline.results.run_state import RunState
from hpo_pipeline.results.standings import Standing, Standings
from hpo_pipeline.results.trial import Trial, TrialState, read_trial
from hpo_pipeline.trial.reporting.reporter import read_curve

LOG_FILE = "log.txt"
LONGEST_LOG = 4_000_000
"""Bytes from the end of a running trial's log in which its evaluations are looked for."""
SETTLED = 60.0
"""Age in seconds from which the result of a trial is not expected to be written again."""
LOOK_AGAIN = 20.0
"""Seconds after which the dates of such results are looked at nevertheless."""
MANY = 1000
"""Trials that are read at one time, from which the garbage collector is told that they stay."""
Stamp = tuple[int, int] | None
"""Date and size of a file; None where it is not there."""


@dataclass(frozen=True)
class RunView:
    """A run as it was read.

    Attributes:
        name: the path of its folder below the folder of all runs.
        status: running, interrupted, succeeded or failed.
        changed: when its files last changed, in seconds since 1970.
        active: those among the trials that have not ended.
        standing: the ranking of those that have.
        takes_requests: whether its search loop runs here, and takes up what people ask; the one
            of an experiment on Katib does not.
    """

    name: str
    folder: RunFolder
    experiment: Experiment
    state: RunState
    status: str
    trials: tuple[Trial, ...]
    active: tuple[Trial, ...]
    changed: float
    standing: Standing
    takes_requests: bool


class _Seen(NamedTuple):
    """A trial as it was read, and the date of the file that it was read from.

    `settles` is the time from which its result is not expected to be written again.
    """

    stamp: Stamp
    trial: Trial
    settles: float = math.inf


class CachedRun:
    """One run folder with what was read of it, each with the date of its file.

    Attributes:
        was_read: whether it was read once, even if in vain.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.was_read = False
        self._name, self._folder = name, RunFolder(path)
        self._lock = threading.Lock()
        self._trials: dict[str, _Seen] = {}
        self._looked = 0.0
        self._head: tuple[Stamp, ...] | None = None
        self._experiment: Experiment | None = None
        self._state = RunState()
        self._standings: Standings | None = None
        self._over: tuple[tuple[Stamp, ...], RunView] | None = None

    def view(self) -> RunView | None:
        """Return the run as it is now; None where it cannot be read."""
        with self._lock:
            stamps, over = self._stamps(), self._over
            if over is not None and over[0] == stamps and not self._folder.is_running():
                return over[1]
            try:
                self._read_head(stamps[:2])
                trials = self._read_trials()
            except (HpoError, OSError):
                return None  # it vanished while it was shown, or it is damaged
            finally:
                self.was_read = True
            if self._experiment is None or self._standings is None:
                return None
            is_running = self._folder.is_running()
            status = self._state.state or "running"
            if status == "running" and not is_running:
                status = "interrupted"
            read = (seen.stamp for seen in self._trials.values())
            dates = (stamp[0] for stamp in (stamps[1], *read) if stamp)
            unended = self._unended()
            found = RunView(
                self._name,
                self._folder,
                self._experiment,
                self._state,
                status,
                tuple(trials if is_running else (t for t in trials if t.state.is_final)),
                unended if is_running else (),
                changed=max(dates, default=0) / 1e9,
                standing=self._standings.of(trials),
                takes_requests=self._folder.journal.is_file(),
            )
            is_over = not (is_running or status == "interrupted" or unended)
            self._over = (stamps, found) if is_over else None
            return found

    def _stamps(self) -> tuple[Stamp, ...]:
        folder = self._folder
        return _stamp(folder.experiment_file), _stamp(folder.run_file), _stamp(folder.trials)

    def _read_head(self, head: tuple[Stamp, ...]) -> None:
        if head != self._head:
            if self._head is None or head[0] != self._head[0]:
                self._experiment = self._folder.experiment()
                self._standings = Standings(self._experiment)
            self._state = self._folder.state()
            self._head = head

    def _unended(self) -> tuple[Trial, ...]:
        found = (seen.trial for seen in self._trials.values() if seen.settles == math.inf)
        return tuple(sorted(found, key=attrgetter("number")))

    def _read_trials(self) -> Sequence[Trial]:
        known, found, now = self._trials, {}, time.time()
        looks_at_all = not 0 <= now - self._looked < LOOK_AGAIN
        if looks_at_all:
            self._looked = now
        before = len(known)
        for name in _folders(self._folder.trials):
            seen = known.get(name)
            if seen is None or looks_at_all or seen.settles > now:
                seen = self._read_trial(name, seen)
            if seen is not None:
                found[name] = seen
        self._trials = found
        if len(found) - before >= MANY:
            gc.freeze()  # none is garbage, and each full collection would go through all of them
        return sorted((seen.trial for seen in found.values()), key=attrgetter("number"))

    def _read_trial(self, name: str, before: _Seen | None) -> _Seen | None:
        place = self._folder.trials / name
        result = _stamp(f"{place}/{RESULT_FILE}")
        stamp = result or _stamp(f"{place}/{LOG_FILE}")
        if before is not None and before.stamp == stamp:
            return before
        number = re.search(r"-(\d{1,9})$", name)
        if number is None:
            return None
        trial = read_trial(place) if result is not None else None
        if trial is None or result is None:
            return _Seen(stamp, _running(place, int(number[1])))
        return _Seen(stamp, trial, result[0] / 1e9 + SETTLED)


def log_tail(path: Path, *, most: int) -> str:
    """Return the end of a log, at most so many bytes; whole lines where there are several."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - most))
            text = stream.read(most).decode("utf-8", "replace")
    except OSError:
        return ""
    return text if size <= most else text.partition("\n")[2] or text


def _running(place: Path, number: int) -> Trial:
    curve = read_curve(log_tail(place / LOG_FILE, most=LONGEST_LOG).splitlines())
    return Trial(place.name, number, TrialState.RUNNING, {}, curve=tuple(curve))


def _folders(place: Path) -> list[str]:
    """Return the names of the folders in a place; a link is none."""
    try:
        with os.scandir(place) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def _stamp(path: Path | str) -> Stamp:
    try:
        found = os.stat(path)  # a Path would take twice as long, ten thousand times
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def date_of(path: Path) -> float:
    """Return when a file changed, in seconds since 1970; 0 where it is not there."""
    stamp = _stamp(path)
    return stamp[0] / 1e9 if stamp else 0.0
