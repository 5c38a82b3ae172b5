"""Population based training (Jaderberg et al. 2017), as a sampler of Optuna.

A trial continues from the checkpoint of a trial of the previous generation: its parent, whose
number is a user attribute of the trial in the study. Nothing waits for a generation to be
complete: the trials that have ended when one is asked for are compared. Unlike in the paper, a
parameter with a linear range moves by a share of the range instead of by a factor, because a
factor can neither leave 0 nor move between 0.9 and 0.999 without hitting a bound.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from hpo_pipeline.experiment.algorithms.base import Problem
from hpo_pipeline.experiment.algorithms.pbt import PbtSettings
from hpo_pipeline.experiment.population import population_of
from hpo_pipeline.experiment.space import ChoiceParameter, FloatParameter, IntParameter, Value
from hpo_pipeline.results.ranking import best_first
from hpo_pipeline.results.trial import Trial, TrialState
from hpo_pipeline.search.distributions import distributions

PARENT = "parent"
LAST = "last"
"""User attribute: the metrics of a trial's last evaluation, which is where its checkpoint is."""


class PbtSampler(BaseSampler):
    """Exploit and explore, from what the study holds when a trial is asked for.

    | own parent                          | continues from     | with                     |
    | ----------------------------------- | ------------------ | ------------------------ |
    | finished, not among the worst       | it                 | its assignments          |
    | among the worst, failed, or running | one of the best    | its assignments, changed |
    | no trial of its generation finished | nothing: a newborn | new assignments          |

    A newborn trains from the start up to where its generation ends.
    """

    def __init__(self, problem: Problem, settings: PbtSettings, *, seed: int) -> None:
        population = population_of(problem.search, problem.trials)
        assert population is not None
        self._problem = problem
        self._population = population
        self._settings = settings
        self._newborn = RandomSampler(seed=seed)
        # Two streams, so that a trial that is completed after a crash is changed as before.
        self._choosing, self._changing = (np.random.default_rng((seed, i)) for i in (0, 1))

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Choose the parent and keep its number with the trial, before any parameter."""
        if PARENT not in trial.user_attrs:
            parent = self._parent(study, trial.number)
            study._storage.set_trial_user_attr(trial._trial_id, PARENT, parent)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the whole space, or nothing for a newborn."""
        space = distributions(self._problem.space)
        return space if parent_of(self._stored(study, trial)) is not None else {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the assignments of the parent, changed where it is not the own one."""
        parent = parent_of(self._stored(study, trial))
        if parent is None:
            return {}
        assignments = study.get_trials(deepcopy=False)[parent].params
        if parent == trial.number - self._population.size:
            return dict(assignments)
        return {name: self._changed(name, assignments[name]) for name in search_space}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return a random value: a newborn's."""
        return self._newborn.sample_independent(study, trial, param_name, param_distribution)

    def _parent(self, study: Study, number: int) -> int | None:
        generation = self._population.generation(number)
        if generation == 0:
            return None
        ended = study.get_trials(deepcopy=False, states=(OptunaState.COMPLETE,))
        members = self._population.members(generation - 1)
        ranked = best_first(self._problem, [_trial(t) for t in ended if t.number in members])
        numbers = [trial.number for trial in ranked]
        own = number - self._population.size
        # At least one of two or more; a share is at most a half, so best and worst are apart.
        share = max(1, int(self._settings.exploit_share * len(numbers)))
        worst = numbers[-share:] if len(numbers) > 1 else []
        if own in numbers and own not in worst:
            return own
        return int(self._choosing.choice(numbers[:share])) if numbers else None

    def _changed(self, name: str, value: Value) -> Value:
        parameter = self._problem.space[name]
        is_drawn_anew = self._changing.random() < self._settings.resample
        if isinstance(parameter, ChoiceParameter):
            return self._changed_choice(parameter, value, is_drawn_anew=is_drawn_anew)
        position = self._changing.random()
        if is_drawn_anew:
            return _at(parameter, position)
        assert not isinstance(value, str)
        return _moved(parameter, value, 1 if position < 0.5 else -1, self._settings.perturbation)

    def _changed_choice(
        self, parameter: ChoiceParameter, value: Value, *, is_drawn_anew: bool
    ) -> Value:
        values = parameter.values
        here = next(i for i, v in enumerate(values) if type(v) is type(value) and v == value)
        near = range(max(0, here - 1), min(len(values), here + 2))
        places = range(len(values)) if is_drawn_anew else near
        return values[int(self._changing.choice(places))]

    @staticmethod
    def _stored(study: Study, trial: FrozenTrial) -> FrozenTrial:
        return study._storage.get_trial(trial._trial_id)


def parent_of(trial: FrozenTrial) -> int | None:
    """Return the number of the trial from whose checkpoint a trial continues, or None."""
    parent: int | None = trial.user_attrs.get(PARENT)
    return parent


def _trial(frozen: FrozenTrial) -> Trial:
    """Return a trial as its checkpoint is: one that has collapsed after its best is not copied."""
    metrics = {**frozen.user_attrs["metrics"], **frozen.user_attrs.get(LAST, {})}
    return Trial("", frozen.number, TrialState.SUCCEEDED, frozen.params, metrics=metrics)


def _at(parameter: FloatParameter | IntParameter, position: float) -> float | int:
    """Return the value at a share of the range, in [0, 1)."""
    low, high = parameter.low, parameter.high
    if parameter.log:
        return _fitted(parameter, low * (high / low) ** position)
    return _fitted(parameter, low + (high - low) * position)


def _moved(
    parameter: FloatParameter | IntParameter, value: float, sign: int, perturbation: float
) -> float | int:
    """Return a value one perturbation away: a factor where the range is log, else a share of it.

    Whole numbers and steps move by one place at least.
    """
    if parameter.log:
        target = value * (1 + perturbation) ** sign
    else:
        target = value + sign * perturbation * (parameter.high - parameter.low)
    found = _fitted(parameter, target)
    if found == value and parameter.step is not None:
        found = _fitted(parameter, value + sign * parameter.step)
    return found


def _fitted(parameter: FloatParameter | IntParameter, value: float) -> float | int:
    """Return the nearest value that the parameter has."""
    value = min(max(value, parameter.low), parameter.high)
    if parameter.step is None:
        return value
    count = parameter.count()
    assert count is not None
    place = min(round((value - parameter.low) / parameter.step), count - 1)
    if isinstance(parameter, IntParameter):
        return parameter.low + place * parameter.step
    return parameter.point(place)
