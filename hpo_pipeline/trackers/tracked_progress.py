"""A progress that puts what is new into the queue of the trackers, and hands everything on.

This is all that a run does for its trackers while it searches: a look at each trial that has not
ended, and a line in a file for each change. What the queue has already, from an earlier part of
the run, is not put there again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from hpo_pipeline.reports.terminal import Progress
from hpo_pipeline.reports.terminal.forwarding import ForwardingProgress
from hpo_pipeline.results.run_state import RunState
from hpo_pipeline.results.trial import Point, Trial, TrialState
from hpo_pipeline.trackers.interface import RunEntry, TimedPoint, TrialEntry
from hpo_pipeline.trackers.queue import Queue


class TrackedProgress(ForwardingProgress):
    """Writes to a queue; where that fails, it says so once and the run continues."""

    def __init__(
        self, progress: Progress, queue: Queue, *, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(progress)
        self._queue, self._clock = queue, clock
        self._ended: set[str] = set()
        self._points: dict[str, tuple[Point, ...]] = {}
        self._is_broken = False
        try:
            for queued in queue.read():
                if isinstance(queued.entry, TrialEntry):
                    self._take(queued.entry)
        except OSError as error:
            self._give_up(error)

    def update(self, trials: Sequence[Trial], *, seconds: float) -> None:
        self.note(trials)
        super().update(trials, seconds=seconds)

    def note(self, trials: Sequence[Trial], *, are_replicates: bool = False) -> None:
        """Queue what is new of trials."""
        entries = []
        for trial in trials:
            if trial.name in self._ended and trial.state.is_final:
                continue
            entry = self._entry(trial, are_replicates)
            if entry is not None:
                self._take(entry)
                entries.append(entry)
        if entries:
            self._append(entries)

    def note_run(self, state: RunState) -> None:
        """Queue how the run is."""
        self._append([RunEntry(self._clock(), state)])

    def _entry(self, trial: Trial, is_replicate: bool) -> TrialEntry | None:
        if trial.state is TrialState.WAITING:
            return None
        known = self._points.get(trial.name)
        begins_anew = trial.name in self._ended or not _continues(known or (), trial.curve)
        if begins_anew:
            known = ()
        new = trial.curve[len(known or ()) :]
        if known is not None and not new and not begins_anew and not trial.state.is_final:
            return None
        now = self._clock()
        return TrialEntry(
            name=trial.name,
            number=trial.number,
            assignments=trial.assignments,
            time=now,
            points=tuple(TimedPoint(now, point) for point in new),
            ended=trial if trial.state.is_final else None,
            begins_anew=begins_anew,
            is_replicate=is_replicate,
        )

    def _take(self, entry: TrialEntry) -> None:
        """Remember what the queue has of a trial."""
        if entry.begins_anew:
            self._ended.discard(entry.name)
            self._points.pop(entry.name, None)
        if entry.ended is not None:
            self._ended.add(entry.name)
            self._points.pop(entry.name, None)
        else:
            points = tuple(timed.point for timed in entry.points)
            self._points[entry.name] = (*self._points.get(entry.name, ()), *points)

    def _append(self, entries: Sequence[TrialEntry | RunEntry]) -> None:
        if self._is_broken:
            return
        try:
            self._queue.append(entries)
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._is_broken = True
        self.say(
            f"trackers get no more of this run ({error.strerror}): send the rest with `hpo track`"
        )


def _continues(known: Sequence[Point], curve: Sequence[Point]) -> bool:
    """Return whether a curve is that of the training that is known, however far it has got.

    A trial that is interrupted and rerun starts without a curve: only its first points show
    whether it resumed from a checkpoint or starts from nothing.
    """
    pairs = zip(known, curve, strict=False)
    return all(a.training_step == b.training_step and a.metrics == b.metrics for a, b in pairs)
