"""Optuna studies in memory, rebuilt from the trials of a result so that Optuna can plot them.

A stopped trial counts as complete, with the value of its best evaluation: it can win, so it has
a place in the plots. Knows nothing of the study that the search itself used.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo_pipeline.experiment.formula import Constraint
from hpo_pipeline.experiment.objective import Objective
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.space import Assignments, Space, Value, render
from hpo_pipeline.results.ranking import is_usable
from hpo_pipeline.results.trial import Trial
from hpo_pipeline.search.distributions import distributions


def study(
    experiment: Experiment, trials: Sequence[Trial], objectives: Sequence[Objective]
) -> optuna.Study:
    """Return a study of the given objectives; its n-th trial is the n-th of `trials`."""
    axes = _Axes.of(experiment.space)
    rebuilt = optuna.create_study(directions=[objective.goal for objective in objectives])
    for trial in trials:
        rebuilt.add_trial(
            _complete(experiment, trial, objectives=objectives, axes=axes)
            if is_usable(experiment, trial)
            else create_trial(state=TrialState.FAIL)
        )
    return rebuilt


def _complete(
    experiment: Experiment, trial: Trial, *, objectives: Sequence[Objective], axes: _Axes
) -> FrozenTrial:
    placed = axes.place(trial.assignments)
    return create_trial(
        params=placed,
        distributions={name: axes.distributions[name] for name in placed},
        values=[objective.value(trial.metrics) for objective in objectives],
        # A metric that is missing misses its constraint by infinity, which JSON does not have.
        constraints={
            text: min(Constraint(text).violation(trial.metrics), sys.float_info.max)
            for text in experiment.constraints
        },
    )


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna from announcing every study that is rebuilt here."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


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

    def place(self, assignments: Assignments) -> dict[str, Value]:
        """Return the values as the plots show them; one that is not in the space is left out."""
        return {
            name: render(value) if name in self.texts else value
            for name, value in assignments.items()
            if name in self.space and self.space[name].contains(value)
        }


def _is_numeric(values: Sequence[Value]) -> bool:
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    return len(set(numbers)) == len(values)
