"""Population based training; what it does is in search/pbt.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from hpo_pipeline.experiment.algorithms.base import AnySearch, Probability, Problem, from_search
from hpo_pipeline.experiment.space import Frozen

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class PbtSettings(Frozen):
    """Settings of population based training.

    After each interval, members in the worst `exploit_share` copy one of the best
    `exploit_share`. Then each parameter is drawn anew with probability `resample`; otherwise it
    is multiplied or divided by 1 + `perturbation` where its range is log, and moved up or down
    by `perturbation` of its range where it is not. A choice moves to its neighbour or stays.
    """

    population: Annotated[int, Field(ge=2)] = 8
    exploit_share: Annotated[float, Field(gt=0, le=0.5)] = 0.25
    resample: Probability = 0.25
    perturbation: Annotated[float, Field(gt=0, le=4)] = 0.2


class PbtSearch(AnySearch):
    """Population based training: configurations change while their models train."""

    objectives = "one"
    knows_conditions = False
    has_population = True
    instead = "tpe or random"

    algorithm: Literal["pbt"]
    settings: PbtSettings = PbtSettings()

    @property
    def population_size(self) -> int:
        """The members of the population."""
        return self.settings.population

    def sampler(self, problem: Problem, number: int) -> BaseSampler:
        """Return the sampler that exploits and explores."""
        sampler: BaseSampler = from_search("pbt:PbtSampler")(
            problem, self.settings, seed=self.seed_of(number)
        )
        return sampler
