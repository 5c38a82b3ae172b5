"""A genetic algorithm for one objective."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from hpo_pipeline.experiment.algorithms.base import AnySearch, Probability, Problem
from hpo_pipeline.experiment.space import Frozen

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class GeneticSettings(Frozen):
    """Settings of the genetic algorithms; `mutation` defaults to one over the parameters."""

    population: Annotated[int, Field(ge=2)] = 10
    crossover: Probability = 0.9
    swap: Probability = 0.5
    mutation: Probability | None = None


class GeneticSearch(AnySearch):
    """A genetic algorithm for one objective."""

    objectives = "one"
    keeps_notes = True

    algorithm: Literal["genetic"]
    settings: GeneticSettings = GeneticSettings()

    def sampler(self, problem: Problem, number: int) -> BaseSampler:
        """Return Optuna's NSGA-II, which with one objective is an elitist genetic algorithm."""
        return genetic_sampler(self.settings, self.seed_of(number))


def genetic_sampler(settings: GeneticSettings, seed: int) -> BaseSampler:
    """Return Optuna's NSGA-II with a crossover that serves numbers.

    Optuna's default only swaps values, so that a number would never come between those of its
    parents; BLX-alpha (Eshelman and Schaffer, FOGA 1993) draws from around them.
    """
    from optuna.samplers import NSGAIISampler
    from optuna.samplers.nsgaii import BLXAlphaCrossover

    return NSGAIISampler(
        seed=seed,
        population_size=settings.population,
        crossover=BLXAlphaCrossover(),
        crossover_prob=settings.crossover,
        swapping_prob=settings.swap,
        mutation_prob=settings.mutation,
    )
