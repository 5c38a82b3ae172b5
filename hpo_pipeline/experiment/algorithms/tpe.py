"""The tree-structured Parzen estimator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from hpo_pipeline.experiment.algorithms.base import AnySearch, Problem, from_search
from hpo_pipeline.experiment.rules.region import region_of
from hpo_pipeline.experiment.space import Count, Frozen

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class TpeSettings(Frozen):
    """Settings of the tree-structured Parzen estimator."""

    startup_trials: Count = 10
    candidates: Annotated[int, Field(ge=1, le=10_000)] = 24


class TpeSearch(AnySearch):
    """The tree-structured Parzen estimator, multivariate, with constraints."""

    learns_from_earlier = True

    algorithm: Literal["tpe"]
    settings: TpeSettings = TpeSettings()

    def sampler(self, problem: Problem, number: int) -> BaseSampler:
        """Return Optuna's sampler with forecasts; with rules, one whose candidates keep them."""
        arguments: dict[str, Any] = {
            "seed": self.seed_of(number),
            "n_startup_trials": self.settings.startup_trials,
            "n_ei_candidates": self.settings.candidates,
            "multivariate": True,
            "constant_liar": True,
        }
        if problem.rules:
            region = region_of(problem.space, problem.rules)
            ruled: BaseSampler = from_search("parzen:RuledTpeSampler")(region, **arguments)
            return ruled
        sampler: BaseSampler = from_search("parzen:ForecastTpeSampler")(**arguments)
        return sampler
