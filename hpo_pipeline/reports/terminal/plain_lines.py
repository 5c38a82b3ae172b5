"""The display where there is no terminal: one line when a trial starts, and one when it ends.

Made for log files and pipes: no control characters, and every line is written out at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.reports import formatting
from hpo_pipeline.reports.terminal import progress_text
from hpo_pipeline.results.trial import Trial, TrialState


class PlainLines:
    """Writes what changed since the last update."""

    def __init__(self, experiment: Experiment, stream: TextIO) -> None:
        self._experiment = experiment
        self._stream = stream
        self._total = experiment.budget.trials
        self._seen: dict[str, TrialState] | None = None

    def started(self, total: int, parallel: int) -> None:
        self._total = total
        if self._seen is None:
            goals = ", ".join(f"{o.goal} {o.score or o.name}" for o in self._experiment.objective)
            self.say(f"{self._experiment.name}: {total} trials, {parallel} in parallel; {goals}")

    def update(self, trials: Sequence[Trial], *, seconds: float) -> None:
        if self._seen is None:
            self._seen = self._take_up(trials)
        for trial in trials:
            if trial.state is self._seen.get(trial.name):
                continue
            self._seen[trial.name] = trial.state
            if trial.state is TrialState.RUNNING:
                self.say(f"{trial.name} started: {formatting.assignments(trial.assignments)}")
            elif trial.state.is_final:
                self.say(self._end(trial, trials, seconds))

    def say(self, line: str) -> None:
        print(line, file=self._stream, flush=True)

    def close(self) -> None:
        pass

    def _take_up(self, trials: Sequence[Trial]) -> dict[str, TrialState]:
        """Say in one line what an earlier part of the run has left."""
        earlier = [trial for trial in trials if trial.state.is_final]
        if earlier:
            best = progress_text.best(self._experiment, earlier)
            trials_word = "trial" if len(earlier) == 1 else "trials"
            self.say(
                f"{len(earlier)} {trials_word} finished earlier: "
                f"{progress_text.counts(earlier)}; {best}"
            )
        return {trial.name: trial.state for trial in earlier}

    def _end(self, trial: Trial, trials: Sequence[Trial], seconds: float) -> str:
        found = progress_text.named_objectives(self._experiment, trial.metrics)
        match trial.state:
            case TrialState.SUCCEEDED:
                what = f"finished: {found}"
            case TrialState.STOPPED:
                what = f"stopped after evaluation {len(trial.curve)}: {found}"
                what += f" ({trial.reason})" if trial.reason else ""
            case _:
                what = f"failed: {trial.reason or 'no reason given'}"
        over = f"{progress_text.done(trials)} of {self._total} in {formatting.duration(seconds)}"
        return f"{trial.name} {what}; {progress_text.best(self._experiment, trials)}; {over}"
