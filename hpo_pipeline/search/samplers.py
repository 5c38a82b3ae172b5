"""The search algorithms: one table from a name in the experiment file to a sampler of Optuna.

A sampler is built anew for each suggestion, seeded by the experiment's seed and the number of
the trial. All it knows is then in the study, so that a search goes on after a crash as if
nothing had happened, on any engine.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from hpo_pipeline.experiment import Experiment
from hpo_pipeline.population import population
from hpo_pipeline.search.distributions import distributions
from hpo_pipeline.search.pbt import PbtSampler
from hpo_pipeline.space import Frozen, Space, Value
from hpo_pipeline.strategies import GpSettings, PbtSettings, TpeSettings

SettingsT = TypeVar("SettingsT", bound=Frozen)


class _Grid(BaseSampler):
    """Every point once, in an order that the seed decides.

    Optuna's own grid gives points by the trial's number, so that start configurations are tried
    twice and other points never; and it calls Study.stop, which needs Study.optimize.
    """

    def __init__(self, space: Space, seed: int) -> None:
        self._distributions = distributions(space)
        self._values = {name: space[name].grid() for name in space}
        size = space.size() or 0
        self._order = np.random.RandomState(seed).permutation(size)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the whole space."""
        return self._distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the first point that no trial has; after the last, the first again."""
        taken = {_key(t.params) for t in study.get_trials(deepcopy=False) if t.params}
        points = map(self._point, map(int, self._order))
        free = (point for point in points if _key(point) not in taken)
        return next(free, None) or self._point(int(self._order[0]))

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return any value: only asked for where a start configuration lacks a parameter."""
        return self._values[param_name][0]

    def _point(self, index: int) -> dict[str, Value]:
        point = {}
        for name, values in self._values.items():
            index, place = divmod(index, len(values))
            point[name] = values[place]
        return point


def _key(params: Mapping[str, Value]) -> frozenset[tuple[str, Value]]:
    # A start configuration may write 0.30000000000000004 for the point 0.3.
    rounded = {n: float(f"{v:.12g}") if isinstance(v, float) else v for n, v in params.items()}
    return frozenset(rounded.items())


def build(experiment: Experiment, number: int) -> BaseSampler:
    """Return the sampler that suggests the configuration of trial `number`."""
    with warnings.catch_warnings():
        # multivariate and constant_liar are marked experimental in Optuna 5.
        warnings.simplefilter("ignore", ExperimentalWarning)
        return SAMPLERS[experiment.search.algorithm](experiment, number)


def _seed(experiment: Experiment, number: int) -> int:
    # An odd multiplier spreads neighbouring numbers over all seeds and keeps them distinct.
    return (experiment.search.seed + 2_654_435_761 * (number + 1)) % 2**32


def _settings(experiment: Experiment, kind: type[SettingsT]) -> SettingsT:
    settings = experiment.search.settings
    assert isinstance(settings, kind)
    return settings


def _random(experiment: Experiment, number: int) -> BaseSampler:
    return RandomSampler(seed=_seed(experiment, number))


def _grid(experiment: Experiment, number: int) -> BaseSampler:
    # The seed orders the grid; it must be the same for every trial.
    return _Grid(experiment.space, experiment.search.seed)


def _tpe(experiment: Experiment, number: int) -> BaseSampler:
    settings = _settings(experiment, TpeSettings)
    return TPESampler(
        seed=_seed(experiment, number),
        n_startup_trials=settings.startup_trials,
        n_ei_candidates=settings.candidates,
        multivariate=True,
        constant_liar=True,
    )


def _gp(experiment: Experiment, number: int) -> BaseSampler:
    settings = _settings(experiment, GpSettings)
    return GPSampler(
        seed=_seed(experiment, number),
        n_startup_trials=settings.startup_trials,
    )


def _pbt(experiment: Experiment, number: int) -> BaseSampler:
    members = population(experiment)
    assert members is not None
    settings = _settings(experiment, PbtSettings)
    return PbtSampler(experiment, members, settings, seed=_seed(experiment, number))


SAMPLERS: dict[str, Callable[[Experiment, int], BaseSampler]] = {
    "random": _random,
    "grid": _grid,
    "tpe": _tpe,
    "gp": _gp,
    "pbt": _pbt,
}
