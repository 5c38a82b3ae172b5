"""The display where there is no terminal: one line when a trial starts, and one when it ends.

Between them, a trial says how far it is, at most each half minute.

Made for log files and pipes: no control characters, and every line is written out at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TextIO

from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.reports import formatting
from hpo_pipeline.reports.terminal import progress_text
from hpo_pipeline.reports.terminal.trial_clock import TrialClock
from hpo_pipeline.results.leaders import Leaders
from hpo_pipeline.results.trial import Trial, TrialState

PROGRESS_SECONDS = 30.0


class PlainLines:
    """Writes what changed since the last update."""

    def __init__(
        self,
        experiment: Experiment,
        stream: TextIO,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._experiment = experiment
        self._clock = clock
        self._trial_clock = TrialClock(experiment)
        self._said: dict[str, tuple[float, int]] = {}
        self._stream = stream
        self._total = experiment.budget.trials
        self._seen: dict[str, TrialState] | None = None
        self._leaders = Leaders(experiment, 1)
        self._over = 0
        self._told = 0

    def started(self, total: int, parallel: int) -> None:
        self._total = total
        if self._seen is None:
            goals = ", ".join(f"{o.goal} {o.score or o.name}" for o in self._experiment.objective)
            self.say(f"{self._experiment.name}: {total} trials, {parallel} in parallel; {goals}")

    def update(self, trials: Sequence[Trial], *, seconds: float) -> None:
        if self._seen is None:
            self._seen = self._take_up(trials)
        now, seen = self._clock(), self._seen
        # Of ten thousand trials all but a few have ended, and were said to have.
        while self._told < len(trials) and self._is_told(trials[self._told], seen):
            self._told += 1
        alive = [
            t
            for t in trials[self._told :]
            if t.state is TrialState.RUNNING or t.state is not seen.get(t.name)
        ]
        self._trial_clock.note(alive, now)
        self._count([trial for trial in alive if trial.state is not seen.get(trial.name)])
        for trial in alive:
            if trial.state is self._seen.get(trial.name):
                self._say_progress(trial, now)
                continue
            self._seen[trial.name] = trial.state
            if trial.state is TrialState.RUNNING:
                self._said[trial.name] = now, len(trial.curve)
                self.say(f"{trial.name} started: {formatting.assignments(trial.assignments)}")
            elif trial.state.is_final:
                self.say(self._end(trial, seconds))

    def say(self, line: str) -> None:
        print(line, file=self._stream, flush=True)

    def close(self) -> None:
        pass

    def _count(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            if trial.state.is_final:
                self._leaders.add(trial)
                self._over += 1

    @staticmethod
    def _is_told(trial: Trial, seen: Mapping[str, TrialState]) -> bool:
        return trial.state.is_final and trial.state is seen.get(trial.name)

    def _say_progress(self, trial: Trial, now: float) -> None:
        if trial.state is not TrialState.RUNNING:
            return
        last, points = self._said.get(trial.name, (now, 0))
        if len(trial.curve) > points and now - last >= PROGRESS_SECONDS:
            self._said[trial.name] = now, len(trial.curve)
            found = progress_text.named_objectives(self._experiment, trial.curve[-1].metrics)
            self.say(f"{trial.name} {self._trial_clock.words(trial, now)}: {found}")

    def _take_up(self, trials: Sequence[Trial]) -> dict[str, TrialState]:
        """Say in one line what an earlier part of the run has left."""
        earlier = [trial for trial in trials if trial.state.is_final]
        self._count(earlier)
        if earlier:
            best = progress_text.best(self._experiment, self._leaders.winner())
            trials_word = "trial" if len(earlier) == 1 else "trials"
            self.say(
                f"{len(earlier)} {trials_word} finished earlier: "
                f"{progress_text.counts(earlier)}; {best}"
            )
        return {trial.name: trial.state for trial in earlier}

    def _end(self, trial: Trial, seconds: float) -> str:
        found = progress_text.named_objectives(self._experiment, trial.metrics)
        match trial.state:
            case TrialState.SUCCEEDED:
                what = f"finished: {found}"
            case TrialState.STOPPED:
                what = f"stopped after evaluation {len(trial.curve)}: {found}"
                what += f" ({trial.reason})" if trial.reason else ""
            case _:
                what = f"failed: {trial.reason or 'no reason given'}"
        over = f"{self._over} of {self._total} in {formatting.duration(seconds)}"
        best = progress_text.best(self._experiment, self._leaders.winner())
        return f"{trial.name} {what}; {best}; {over}"
