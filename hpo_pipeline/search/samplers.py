"""The search algorithms: one table from a name in the experiment file to a sampler of Optuna.

A sampler is built anew for each suggestion, seeded by the experiment's seed and the number of
the trial. All it knows is then in the study, so that a search goes on after a crash as if
nothing had happened, on any engine.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, GridSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hpo_pipeline.experiment import Experiment


class _Grid(GridSampler):
    """Optuna's grid without its Study.stop, which only works inside Study.optimize."""

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Leave it to the caller to see that the grid is through."""


def build(experiment: Experiment, number: int) -> BaseSampler:
    """Return the sampler that suggests the configuration of trial `number`."""
    with warnings.catch_warnings():
        # multivariate and constant_liar are marked experimental in Optuna 5.
        warnings.simplefilter("ignore", ExperimentalWarning)
        return SAMPLERS[experiment.search.algorithm](experiment, number)


def _seed(experiment: Experiment, number: int) -> int:
    # An odd multiplier spreads neighbouring numbers over all seeds and keeps them distinct.
    return (experiment.search.seed + 2_654_435_761 * (number + 1)) % 2**32


def _random(experiment: Experiment, number: int) -> BaseSampler:
    return RandomSampler(seed=_seed(experiment, number))


def _grid(experiment: Experiment, number: int) -> BaseSampler:
    space = experiment.space
    values = {name: space[name].grid() for name in space}
    # The seed orders the grid; it must be the same for every trial.
    return _Grid(values, seed=experiment.search.seed)


def _tpe(experiment: Experiment, number: int) -> BaseSampler:
    settings = experiment.search.settings
    return TPESampler(
        seed=_seed(experiment, number),
        n_startup_trials=int(settings.get("startup_trials", 10)),
        n_ei_candidates=int(settings.get("candidates", 24)),
        multivariate=True,
        constant_liar=True,
    )


def _gp(experiment: Experiment, number: int) -> BaseSampler:
    settings = experiment.search.settings
    return GPSampler(
        seed=_seed(experiment, number),
        n_startup_trials=int(settings.get("startup_trials", 10)),
    )


SAMPLERS: dict[str, Callable[[Experiment, int], BaseSampler]] = {
    "random": _random,
    "grid": _grid,
    "tpe": _tpe,
    "gp": _gp,
}
