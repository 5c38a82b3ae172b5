"""The search algorithms: one table from a name in the experiment file to a sampler of Optuna.

A sampler is built anew for each suggestion, seeded by the experiment's seed and the number of
the trial. All it knows is then in the study, so that a search goes on after a crash as if
nothing had happened, on any engine.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.samplers.nsgaii import BLXAlphaCrossover
from optuna.search_space import IntersectionSearchSpace
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpo_pipeline.experiment.population import population
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.search import (
    CmaesSettings,
    GeneticSettings,
    GpSettings,
    PbtSettings,
    TpeSettings,
)
from hpo_pipeline.experiment.space import Frozen, Space, Value
from hpo_pipeline.search.distributions import distributions
from hpo_pipeline.search.pbt import PbtSampler

SettingsT = TypeVar("SettingsT", bound=Frozen)


class _Grid(BaseSampler):
    """Every point once, in an order that the seed decides.

    Optuna's own grid gives points by the trial's number, so that start configurations are tried
    twice and other points never; and it calls Study.stop, which needs Study.optimize.
    """

    def __init__(self, space: Space, seed: int) -> None:
        self._distributions = distributions(space)
        self._space = space
        self._values = {name: space[name].grid() for name in space}
        size = math.prod(len(values) for values in self._values.values())
        self._order = np.random.RandomState(seed).permutation(size)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the whole space."""
        return self._distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the first point that no trial has; after the last, the first again.

        Of points that differ only where conditions do not hold, one is enough.
        """
        active = self._space.active
        taken = {_key(active(t.params)) for t in study.get_trials(deepcopy=False) if t.params}
        points = map(self._point, map(int, self._order))
        free = (point for point in points if _key(active(point)) not in taken)
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


class _BoundedGP(GPSampler):
    """Optuna's Gaussian process, fitted on a bounded number of trials, stopped ones included.

    The fit is cubic in the trials. Beyond the bound half of it are the best trials, around which
    the optimum is looked for, and half are taken evenly from first to last of the others, which
    tell where it is not. Optuna's passes stopped trials over, and so proposes again and again
    what a stopping rule has just found to be bad: here each counts with the best value that it
    came to.
    """

    def __init__(self, *, max_fitted: int, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._max_fitted = max_fitted

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the point of the greatest expected gain."""
        small = self._bounded(study, trial)
        if small is None:
            return super().sample_relative(study, trial, search_space)
        # Optuna's leaves a note at the trial that it asks for: give it that of the small study.
        itself = small.get_trials(deepcopy=False)[-1]
        return super().sample_relative(small, itself, search_space)

    def _bounded(self, study: Study, trial: FrozenTrial) -> Study | None:
        """Return a study of the trials to fit, `trial` the last, or None: the study as it is."""
        ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        known = [k for t in ended if (k := _with_value(t, study.directions)) is not None]
        are_complete = all(t.state == TrialState.COMPLETE for t in ended)
        if len(known) <= self._max_fitted and are_complete:
            return None
        front = {t.number for t in study.best_trials} if len(study.directions) > 1 else set()
        sign = -1 if study.directions[0] == StudyDirection.MAXIMIZE else 1

        def badness(trial: FrozenTrial) -> tuple[bool, bool, float]:
            misses = any(v > 0 for v in trial.constraints.values())
            return (misses, trial.number not in front, sign * trial.values[0])

        best = sorted(known, key=badness)[: self._max_fitted // 2]
        taken = {t.number for t in best}
        others = [t for t in known if t.number not in taken]
        even = np.linspace(0, len(others) - 1, min(len(others), self._max_fitted // 2))
        others = [others[round(place)] for place in even]
        small = optuna.create_study(directions=study.directions)
        small.add_trials([*best, *others])
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        small.add_trials([*(t for t in running if t.number != trial.number), trial])
        return small


def _with_value(trial: FrozenTrial, directions: list[StudyDirection]) -> FrozenTrial | None:
    """Return a trial that has a value: a stopped one gets the best of its curve, if any."""
    if trial.state == TrialState.COMPLETE:
        return trial
    values = [v for v in trial.intermediate_values.values() if math.isfinite(v)]
    if not values:
        return None
    known = copy.copy(trial)
    known.state = TrialState.COMPLETE
    known.values = [max(values) if directions[0] == StudyDirection.MAXIMIZE else min(values)]
    return known


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


def _qmc(experiment: Experiment, number: int) -> BaseSampler:
    # The sequence is one for the whole search; choices, which it does not serve, are drawn.
    return QMCSampler(
        seed=experiment.search.seed,
        scramble=True,
        independent_sampler=_random(experiment, number),
        warn_asynchronous_seeding=False,
        warn_independent_sampling=False,
    )


def _cmaes(experiment: Experiment, number: int) -> BaseSampler:
    settings = _settings(experiment, CmaesSettings)
    return CmaEsSampler(
        seed=_seed(experiment, number),
        n_startup_trials=settings.startup_trials,
        sigma0=settings.sigma,
        popsize=settings.population,
        independent_sampler=_random(experiment, number),
        warn_independent_sampling=False,
    )


def _genetic(experiment: Experiment, number: int) -> BaseSampler:
    # Optuna's default crossover only swaps values, so that a number would never come between
    # those of its parents; BLX-alpha (Eshelman and Schaffer, FOGA 1993) draws from around them.
    settings = _settings(experiment, GeneticSettings)
    return NSGAIISampler(
        seed=_seed(experiment, number),
        population_size=settings.population,
        crossover=BLXAlphaCrossover(),
        crossover_prob=settings.crossover,
        swapping_prob=settings.swap,
        mutation_prob=settings.mutation,
    )


def _gp(experiment: Experiment, number: int) -> BaseSampler:
    settings = _settings(experiment, GpSettings)
    return _BoundedGP(
        max_fitted=settings.max_fitted,
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
    "qmc": _qmc,
    "tpe": _tpe,
    "gp": _gp,
    "cmaes": _cmaes,
    "genetic": _genetic,
    "nsga2": _genetic,
    "pbt": _pbt,
}


@contextmanager
def constraints_elsewhere() -> Iterator[None]:
    """Silence samplers that pass constraints over: the selection keeps to them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Constraints have been set")
        yield


def take_over_space(sampler: BaseSampler, earlier: BaseSampler) -> None:
    """Let a sampler go on with what an earlier one of the same study has found out of the space.

    Optuna goes through all trials for it, once for a sampler; with one for each suggestion, a
    thousand trials that are replayed would take a million looks.
    """
    for name in ("_search_space", "_intersection_search_space"):
        found = getattr(earlier, name, None)
        if type(earlier) is type(sampler) and isinstance(found, IntersectionSearchSpace):
            setattr(sampler, name, found)


REMEMBERING = frozenset({"cmaes", "genetic", "nsga2", "qmc"})
"""Algorithms that keep notes in the study, beside the parameters and values of the trials."""
