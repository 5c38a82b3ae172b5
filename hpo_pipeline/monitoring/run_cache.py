"""The runs below a folder as they were read last: for the live page and the exporter."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from hpo_pipeline.monitoring.cached_run import CachedRun, RunView, date_of
from hpo_pipeline.monitoring.collector import Reading
from hpo_pipeline.monitoring.local_facts import experiment_facts, trial_facts
from hpo_pipeline.monitoring.snapshot import Snapshot, measure
from hpo_pipeline.results.run_paths import RUN_FILE

MOST_RUNS = 1000


class RunCache:
    """The runs below a folder, or that folder itself where it is a run; safe for threads."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._lock = threading.Lock()
        self._runs: dict[str, CachedRun] = {}
        self._first_reads: threading.Thread | None = None

    def names(self) -> list[str]:
        """Return the runs that are there, those that changed last first; at most 1000."""
        found = {path.parent for path in self._root.glob(f"*/{RUN_FILE}")}
        found |= {self._root} if (self._root / RUN_FILE).is_file() else set()
        by_age = sorted(found, key=lambda path: -date_of(path / RUN_FILE))
        return [self._name(path) for path in by_age[:MOST_RUNS]]

    def view(self, name: str) -> RunView | None:
        """Return a run as it is now; None where there is none, or it cannot be read."""
        return self._view(name) if name in self.names() else None

    def _view(self, name: str) -> RunView | None:
        with self._lock:
            run = self._runs.setdefault(name, CachedRun(name, self._root / name))
        return run.view()

    def views(self) -> Iterator[RunView]:
        """Yield all runs that can be read."""
        for name in self.names():
            if (found := self._view(name)) is not None:
                yield found

    def views_within(self, seconds: float) -> tuple[list[RunView], int]:
        """Return the runs that can be read, and how many have not been read yet.

        Reading a large run for the first time takes seconds. Runs that are not read within the
        time are left out; a thread goes on with them.
        """
        names = self.names()
        unread = [name for name in names if not self._was_read(name)]
        if unread:
            with self._lock:
                reader = self._first_reads
                if reader is None or not reader.is_alive():
                    reader = threading.Thread(target=self._read, args=(unread,), daemon=True)
                    self._first_reads = reader
                    reader.start()
            reader.join(seconds)
        known = [name for name in names if self._was_read(name)]
        found = [view for name in known if (view := self._view(name)) is not None]
        return found, len(names) - len(known)

    def _read(self, names: Sequence[str]) -> None:
        for name in names:
            self._view(name)

    def _was_read(self, name: str) -> bool:
        run = self._runs.get(name)
        return run is not None and run.was_read

    def __call__(self) -> Reading:
        """Return the runs as a source of metrics."""
        found = [run_snapshot(view) for view in self.views()]
        return Reading(found, sources={"runs": (self._root.is_dir(), time.time())})

    def _name(self, path: Path) -> str:
        return "." if path == self._root else path.name


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
