"""The learning curves of one experiment's trials, and what the stopping rule says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hpo_pipeline.experiment.algorithms.random_search import RandomSearch
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.ranking import rank, violation
from hpo_pipeline.results.trial import Point, Trial, TrialState
from hpo_pipeline.search.study import Study
from hpo_pipeline.trial.names import trial_number


class Curves:
    """All trials of an experiment as far as they are known, running ones included."""

    def __init__(self, experiment: Experiment) -> None:
        # The rules ask nothing of the search algorithm, and random keeps no state.
        plain = RandomSearch(algorithm="random")
        self.experiment = experiment
        self._study = Study(replace(experiment.problem, search=plain))
        self._numbers: dict[str, int] = {}
        self._stopped: dict[str, int] = {}
        self._ended: dict[str, Trial] = {}

    def report(self, name: str, curve: Sequence[Point]) -> bool:
        """Take a trial's curve so far; return whether it should stop.

        A decision stays, for the answer may have got lost. It holds from the evaluation on at
        which it was made: a trial whose pod was lost is run again from its first evaluation.
        """
        if not curve:
            return False
        if name in self._stopped:
            return len(curve) >= self._stopped[name]
        if name in self._ended:
            return False
        number = self._number(name)
        for point in curve:
            self._study.report(number, point)
        if self._study.should_stop(number, curve):
            self._stopped[name] = len(curve)
        return name in self._stopped

    def has(self, name: str) -> bool:
        """Return whether the end of a trial is known."""
        return name in self._ended

    def finish(self, trial: Trial) -> None:
        """Take the end of a trial."""
        if trial.name not in self._ended:
            numbered = replace(trial, number=self._number(trial.name))
            self._study.tell(numbered)
            self._ended[trial.name] = numbered

    def fail(self, name: str) -> None:
        """Take it that a trial ended without a result."""
        self.finish(Trial(name, 0, TrialState.FAILED, {}))

    def target_reached(self) -> str | None:
        """Return that the target is reached, in words, or None."""
        target = self.experiment.budget.target
        if target is None:
            return None
        objective = self.experiment.objective[0]
        for trial in rank(self.experiment, self._ended.values())[:1]:
            gain = objective.sign() * (objective.value(trial.metrics) - target)
            if gain >= 0 and violation(self.experiment, trial) == 0:
                return f"the target {target:g} is reached"
        return None

    def _number(self, name: str) -> int:
        """Return the number of a trial; stock algorithms give none, so it is counted here."""
        if name not in self._numbers:
            given = trial_number(name)
            taken = set(self._numbers.values())
            free = next(n for n in range(len(taken) + 1) if n not in taken)
            self._numbers[name] = free if given is None or given in taken else given
        self._study.admit(self._numbers[name])
        return self._numbers[name]
