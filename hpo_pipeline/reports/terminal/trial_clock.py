"""How long a running trial still takes, from how fast its training went so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.reports import formatting
from hpo_pipeline.results.training_progress import training_progress
from hpo_pipeline.results.trial import Trial


@dataclass
class _Seen:
    """When a trial was first seen and how far it was, and the same of its last evaluation."""

    first: float
    first_done: float
    points: int
    last: float
    last_done: float


class TrialClock:
    """Remembers when trials evaluated; times are seconds of any one clock."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._seen: dict[str, _Seen] = {}

    def note(self, trials: Sequence[Trial], now: float) -> None:
        """Take down what running trials have reported by now."""
        for trial in trials:
            if trial.state.is_final:
                self._seen.pop(trial.name, None)
                continue
            progress = training_progress(self._experiment, trial)
            done, points = progress.done if progress else 0.0, len(trial.curve)
            seen = self._seen.setdefault(trial.name, _Seen(now, done, points, now, done))
            if points != seen.points:
                seen.points, seen.last, seen.last_done = points, now, done

    def left(self, name: str, now: float) -> float | None:
        """Return the seconds that a trial still trains; None before it can be known."""
        seen = self._seen.get(name)
        if seen is None or seen.last_done <= seen.first_done or seen.last <= seen.first:
            return None
        pace = (seen.last - seen.first) / (seen.last_done - seen.first_done)
        return max(0.0, pace * (1 - seen.last_done) - (now - seen.last))

    def words(self, trial: Trial, now: float) -> str:
        """Return how far a running trial is and how long it still takes, as words."""
        progress = training_progress(self._experiment, trial)
        if progress is None or trial.state.is_final:
            return str(len(trial.curve)) if trial.curve else formatting.UNKNOWN
        left = self.left(trial.name, now)
        return formatting.training(progress) + (
            f", {formatting.duration(left)} left" if left is not None else ""
        )
