"""CMA-ES."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from hpo_pipeline.experiment.algorithms.base import AnySearch, Problem
from hpo_pipeline.experiment.space import Count, Frozen

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class CmaesSettings(Frozen):
    """Settings of CMA-ES; `sigma` is the first step size, as a share of each range."""

    startup_trials: Count = 1
    sigma: Annotated[float, Field(gt=0, le=1)] | None = None
    population: Annotated[int, Field(ge=4)] | None = None


class CmaesSearch(AnySearch):
    """Covariance matrix adaptation; numbers only."""

    objectives = "one"
    needs_numbers = 2
    keeps_notes = True
    instead = "tpe, genetic or random"

    algorithm: Literal["cmaes"]
    settings: CmaesSettings = CmaesSettings()

    def sampler(self, problem: Problem, number: int) -> BaseSampler:
        """Return Optuna's sampler; choices are drawn."""
        from optuna.samplers import CmaEsSampler, RandomSampler

        return CmaEsSampler(
            seed=self.seed_of(number),
            n_startup_trials=self.settings.startup_trials,
            sigma0=self.settings.sigma,
            popsize=self.settings.population,
            independent_sampler=RandomSampler(seed=self.seed_of(number)),
            warn_independent_sampling=False,
        )
