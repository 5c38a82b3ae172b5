"""Bayesian optimisation with a Gaussian process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from hpo_pipeline.experiment.algorithms.base import AnySearch, Problem, from_search
from hpo_pipeline.experiment.rules.region import region_of
from hpo_pipeline.experiment.space import Count, Frozen

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class GpSettings(Frozen):
    """Settings of Bayesian optimisation with a Gaussian process.

    `max_fitted` bounds the trials that the process is fitted on: the cost is cubic in them.
    """

    startup_trials: Count = 10
    max_fitted: Annotated[int, Field(ge=20, le=1_000)] = 120


class GpSearch(AnySearch):
    """Bayesian optimisation with a Gaussian process."""

    learns_from_earlier = True
    service = "suggestion-gp"

    algorithm: Literal["gp"]
    settings: GpSettings = GpSettings()

    def sampler(self, problem: Problem, number: int) -> BaseSampler:
        """Return our sampler, whose cost is bounded."""
        sampler: BaseSampler = from_search("gaussian_process:BoundedGPSampler")(
            max_fitted=self.settings.max_fitted,
            region=region_of(problem.space, problem.rules) if problem.rules else None,
            seed=self.seed_of(number),
            n_startup_trials=self.settings.startup_trials,
        )
        return sampler
