"""Grid search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from hpo_pipeline.experiment.algorithms.base import AnySearch, NoSettings, Problem, from_search

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class GridSearch(AnySearch):
    """Every point of the space once, in an order that the seed decides."""

    is_exhaustible = True
    instead = "random, tpe or gp"

    algorithm: Literal["grid"]
    settings: NoSettings = NoSettings()

    def sampler(self, problem: Problem, number: int) -> BaseSampler:
        """Return a sampler that gives the first point not yet tried."""
        # The seed orders the grid; it must be the same for every trial.
        sampler: BaseSampler = from_search("grid:GridSampler")(
            problem.space, self.seed, problem.rules
        )
        return sampler
