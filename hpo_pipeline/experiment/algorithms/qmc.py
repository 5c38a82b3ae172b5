"""Quasi-Monte Carlo search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from hpo_pipeline.experiment.algorithms.base import AnySearch, NoSettings, Problem, from_search

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class QmcSearch(AnySearch):
    """A scrambled Sobol sequence: random search with fewer gaps."""

    needs_numbers = 1
    keeps_notes = True
    instead = "grid or random"

    algorithm: Literal["qmc"]
    settings: NoSettings = NoSettings()

    def sampler(self, problem: Problem, number: int) -> BaseSampler:
        """Return a sampler of one sequence for the whole search; choices are drawn.

        With rules, choices are of the sequence too.
        """
        if problem.rules:
            sampler: BaseSampler = from_search("quasi_random:RuledQmcSampler")(
                problem, seed=self.seed
            )
            return sampler
        from optuna.samplers import QMCSampler, RandomSampler

        return QMCSampler(
            seed=self.seed,
            scramble=True,
            independent_sampler=RandomSampler(seed=self.seed_of(number)),
            warn_asynchronous_seeding=False,
            warn_independent_sampling=False,
        )
