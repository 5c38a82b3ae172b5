"""A progress that also keeps what `--metrics-port` and `--metrics-file` export of the run."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.monitoring.collector import Reading
from hpo_pipeline.monitoring.local_facts import experiment_facts, trial_facts
from hpo_pipeline.monitoring.snapshot import measure
from hpo_pipeline.reports.terminal import Progress
from hpo_pipeline.reports.terminal.forwarding import ForwardingProgress
from hpo_pipeline.results.trial import Trial


class MeteredProgress(ForwardingProgress):
    """Hands everything on to another progress, and is a source of metrics.

    An update only keeps the trials; they are measured when somebody asks.
    """

    def __init__(self, progress: Progress, experiment: Experiment, name: str) -> None:
        super().__init__(progress)
        self._experiment, self._name = experiment, name
        self._lock = threading.Lock()
        self._trials: tuple[Trial, ...] = ()
        self._seconds, self._state = 0.0, "running"
        self._planned = experiment.budget.trials
        self._begun = time.monotonic()
        self._first: float | None = None
        self._seen: tuple[object, ...] | None = None
        self._last_progress = time.time()

    def started(self, total: int, parallel: int) -> None:
        self._planned = total
        super().started(total, parallel)

    def update(self, trials: Sequence[Trial], *, seconds: float) -> None:
        with self._lock:
            self._note_times(trials)
            self._trials, self._seconds = tuple(trials), seconds
        super().update(trials, seconds=seconds)

    def ended(self, state: str) -> None:
        """Keep the state in which the run ended."""
        with self._lock:
            self._state = state

    def __call__(self) -> Reading:
        """Return the run as it is now."""
        with self._lock:
            trials, seconds, state = self._trials, self._seconds, self._state
            first, last = self._first, self._last_progress
        facts = experiment_facts(
            self._experiment,
            trials,
            name=self._name,
            state=state,
            seconds=seconds,
            last_progress=last,
        )
        facts = replace(facts, planned=self._planned, first_trial_seconds=first)
        found = [trial_facts(self._experiment, trial) for trial in trials]
        return Reading((measure(facts, found),), sources={"run": (True, time.time())})

    def _note_times(self, trials: Sequence[Trial]) -> None:
        seen = tuple((t.name, t.state, len(t.curve)) for t in trials)
        if self._seen is None:
            # In a run that was resumed, nobody knows any more when the first trial started.
            is_new = not any(trial.state.is_final for trial in trials)
            self._first = time.monotonic() - self._begun if is_new and trials else None
        if seen != self._seen:
            self._last_progress = time.time()
        self._seen = seen
