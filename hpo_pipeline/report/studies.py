"""Optuna studies in memory, rebuilt from the trials of a result so that Optuna can plot them.

A stopped trial counts as complete, with the value of its best evaluation: it can win, so it has
a place in the plots. Knows nothing of the study that the search itself used.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo_pipeline.experiment import Experiment
from hpo_pipeline.objective import Constraint, Objective
from hpo_pipeline.results import Trial
from hpo_pipeline.search.distributions import distributions
from hpo_pipeline.selection import is_usable
from hpo_pipeline.space import Assignments, Space, Value, render


def study(
    experiment: Experiment, trials: Sequence[Trial], objectives: Sequence[Objective]
) -> optuna.Study:
    """Return a study of the given objectives; its n-th trial is the n-th of `trials`."""
    axes = _Axes.of(experiment.space)
    rebuilt = optuna.create_study(directions=[objective.goal for objective in objectives])
    for trial in trials:
        is_complete = is_usable(experiment, trial) and axes.contain(trial.assignments)
        rebuilt.add_trial(
            _complete(experiment, trial, objectives=objectives, axes=axes)
            if is_complete
            else create_trial(state=TrialState.FAIL)
        )
    return rebuilt


def _complete(
    experiment: Experiment, trial: Trial, *, objectives: Sequence[Objective], axes: _Axes
) -> FrozenTrial:
    return create_trial(
        params={name: axes.place(name, value) for name, value in trial.assignments.items()},
        distributions={name: axes.distributions[name] for name in trial.assignments},
        values=[objective.value(trial.metrics) for objective in objectives],
        # A metric that is missing misses its constraint by infinity, which JSON does not have.
        constraints={
            text: min(Constraint(text).violation(trial.metrics), sys.float_info.max)
            for text in experiment.constraints
        },
    )


@dataclass(frozen=True)
class _Axes:
    """The distributions of the plots; the choices of `texts` are shown as they are rendered.

    Optuna finds a choice by equality, where True is 1, and cannot sort text beside numbers.
    """

    space: Space
    distributions: dict[str, BaseDistribution]
    texts: frozenset[str]

    @classmethod
    def of(cls, space: Space) -> _Axes:
        found = distributions(space)
        texts = set()
        for name in space:
            parameter = space[name]
            if parameter.type == "choice" and not _is_numeric(parameter.values):
                texts.add(name)
                found[name] = CategoricalDistribution([render(v) for v in parameter.values])
        return cls(space, found, frozenset(texts))

    def contain(self, assignments: Assignments) -> bool:
        """Tell whether all values can be placed; a space that changed since may not hold them."""
        return all(n in self.space and self.space[n].contains(v) for n, v in assignments.items())

    def place(self, name: str, value: Value) -> Value:
        return render(value) if name in self.texts else value


def _is_numeric(values: Sequence[Value]) -> bool:
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    return len(set(numbers)) == len(values)
