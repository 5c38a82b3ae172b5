"""NSGA-II: a genetic algorithm for several objectives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from hpo_pipeline.experiment.algorithms.base import AnySearch, Problem
from hpo_pipeline.experiment.algorithms.genetic import GeneticSettings, genetic_sampler

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class Nsga2Search(AnySearch):
    """The genetic algorithm NSGA-II for several objectives."""

    objectives = "several"
    keeps_notes = True

    algorithm: Literal["nsga2"]
    settings: GeneticSettings = GeneticSettings()

    def sampler(self, problem: Problem, number: int) -> BaseSampler:
        """Return Optuna's sampler."""
        return genetic_sampler(self.settings, self.seed_of(number))
