"""The best trials of a search, kept up to date as trials end.

To rank all trials anew at the end of each would take longer with every trial.
"""

from __future__ import annotations

from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.ranking import is_usable, rank, winner
from hpo_pipeline.results.trial import Trial


class Leaders:
    """The first `count` of the ranking of all trials that were added.

    With one objective they follow from those before and the new trial. With several, the order of
    any two may depend on a third, and all are ranked when they are asked for.
    """

    def __init__(self, experiment: Experiment, count: int) -> None:
        self._experiment = experiment
        self._count = count
        self._candidates: list[Trial] = []
        self._ranked: list[Trial] | None = []

    def add(self, trial: Trial) -> None:
        """Take a trial that has ended into account."""
        if len(self._experiment.objective) == 1:
            self._candidates = rank(self._experiment, [*self.first(), trial])[: self._count]
            self._ranked = self._candidates
        elif is_usable(self._experiment, trial):
            self._candidates.append(trial)
            self._ranked = None

    def first(self) -> list[Trial]:
        """Return the best trials, best first."""
        if self._ranked is None:
            self._ranked = rank(self._experiment, self._candidates)[: self._count]
        return self._ranked

    def winner(self) -> Trial | None:
        """Return the best trial that satisfies the constraints, or None."""
        return winner(self._experiment, self.first()[:1])
