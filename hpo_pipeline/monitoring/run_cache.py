"""Run folders, read again only where they have changed: for the live page and the exporter.

A finished trial never changes unless its file does; a run of ten thousand trials costs one look at
each folder's date, not a read of each file.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpo_pipeline.errors import HpoError
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.monitoring.collector import Reading
from hpo_pipeline.monitoring.local_facts import experiment_facts, trial_facts
from hpo_pipeline.monitoring.snapshot import Snapshot, measure
from hpo_pipeline.results.files import RESULT_FILE
from hpo_pipeline.results.run_folder import RunFolder
from hpo_pipeline.results.run_paths import RUN_FILE
from hpo_pipeline.results.run_state import RunState
from hpo_pipeline.results.standings import Standing, Standings
from hpo_pipeline.results.trial import Trial, TrialState, read_trial
from hpo_pipeline.trial.reporting.reporter import read_curve

MOST_RUNS = 1000
LOG_FILE = "log.txt"
LONGEST_LOG = 4_000_000
"""Bytes from the end of a running trial's log in which its evaluations are looked for."""
Stamp = tuple[int, int] | None
"""Date and size of a file; None where it is not there."""


@dataclass(frozen=True)
class RunView:
    """A run as it was read.

    Attributes:
        name: the path of its folder below the folder of all runs.
        status: running, interrupted, succeeded or failed.
        changed: when its files last changed, in seconds since 1970.
        standing: the ranking of the trials that have ended.
        takes_requests: whether its search loop runs here, and takes up what people ask; the one
            of an experiment on Katib does not.
    """

    name: str
    folder: RunFolder
    experiment: Experiment
    state: RunState
    status: str
    trials: tuple[Trial, ...]
    changed: float
    standing: Standing
    takes_requests: bool


class RunCache:
    """The runs below a folder, or that folder itself where it is a run; safe for threads."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._lock = threading.Lock()
        self._runs: dict[str, _CachedRun] = {}

    def names(self) -> list[str]:
        """Return the runs that are there, those that changed last first; at most 1000."""
        found = {path.parent for path in self._root.glob(f"*/{RUN_FILE}")}
        found |= {self._root} if (self._root / RUN_FILE).is_file() else set()
        by_age = sorted(found, key=lambda path: -_date(path / RUN_FILE))
        return [self._name(path) for path in by_age[:MOST_RUNS]]

    def view(self, name: str) -> RunView | None:
        """Return a run as it is now; None where there is none, or it cannot be read."""
        return self._view(name) if name in self.names() else None

    def _view(self, name: str) -> RunView | None:
        with self._lock:
            run = self._runs.setdefault(name, _CachedRun(name, self._root / name))
        return run.view()

    def views(self) -> Iterator[RunView]:
        """Yield all runs that can be read."""
        for name in self.names():
            if (found := self._view(name)) is not None:
                yield found

    def __call__(self) -> Reading:
        """Return the runs as a source of metrics."""
        found = [run_snapshot(view) for view in self.views()]
        return Reading(found, sources={"runs": (self._root.is_dir(), time.time())})

    def _name(self, path: Path) -> str:
        return "." if path == self._root else path.name


class _CachedRun:
    """One run folder with what was read of it, each with the date of its file."""

    def __init__(self, name: str, path: Path) -> None:
        self._name, self._folder = name, RunFolder(path)
        self._lock = threading.Lock()
        self._trials: dict[str, tuple[Stamp, Trial]] = {}
        self._head: tuple[Stamp, Stamp] | None = None
        self._experiment: Experiment | None = None
        self._state = RunState()
        self._standings: Standings | None = None

    def view(self) -> RunView | None:
        with self._lock:
            try:
                self._read_head()
                trials = self._read_trials()
            except (HpoError, OSError):
                return None  # it vanished while it was shown, or it is damaged
            if self._experiment is None or self._standings is None:
                return None
            standing = self._standings.of(trials)
        is_running = self._folder.is_running()
        status = self._state.state or "running"
        if status == "running" and not is_running:
            status = "interrupted"
        stamps = [stamp for stamp, _ in self._trials.values() if stamp]
        changed = max([_date(self._folder.run_file), *(stamp[0] / 1e9 for stamp in stamps)])
        shown = tuple(t for t in trials if t.state.is_final or is_running)
        return RunView(
            self._name,
            self._folder,
            self._experiment,
            self._state,
            status,
            shown,
            changed,
            standing,
            takes_requests=self._folder.journal.is_file(),
        )

    def _read_head(self) -> None:
        head = _stamp(self._folder.experiment_file), _stamp(self._folder.run_file)
        if head != self._head:
            if self._head is None or head[0] != self._head[0]:
                self._experiment = self._folder.experiment()
                self._standings = Standings(self._experiment)
            self._state = self._folder.state()
            self._head = head

    def _read_trials(self) -> Sequence[Trial]:
        known, found = self._trials, {}
        for name, path in _folders(self._folder.trials):
            stamp = _stamp(f"{path}/{RESULT_FILE}")
            is_final = stamp is not None
            stamp = stamp or _stamp(f"{path}/{LOG_FILE}")
            before = known.get(name)
            if before is not None and before[0] == stamp:
                found[name] = before
                continue
            number = re.search(r"-(\d{1,9})$", name)
            if number is not None:
                trial = read_trial(Path(path)) if is_final else None
                found[name] = stamp, trial or _running(Path(path), int(number[1]))
        self._trials = found
        return sorted((trial for _, trial in found.values()), key=lambda trial: trial.number)


def run_snapshot(view: RunView) -> Snapshot:
    """Return what is measured of a run."""
    facts = experiment_facts(
        view.experiment,
        view.trials,
        name=view.name,
        state=view.status,
        seconds=view.state.seconds,
        last_progress=view.changed,
        added=view.state.added_trials,
    )
    return measure(facts, [trial_facts(view.experiment, trial) for trial in view.trials])


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


def _folders(place: Path) -> list[tuple[str, str]]:
    """Return the folders in a place by name and path; a link is none."""
    try:
        with os.scandir(place) as entries:
            return [(e.name, e.path) for e in entries if e.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def _stamp(path: Path | str) -> Stamp:
    try:
        found = os.stat(path)  # a Path would take twice as long, ten thousand times
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _date(path: Path) -> float:
    stamp = _stamp(path)
    return stamp[0] / 1e9 if stamp else 0.0
