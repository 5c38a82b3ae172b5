"""Random search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from hpo_pipeline.experiment.algorithms.base import AnySearch, NoSettings, Problem

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class RandomSearch(AnySearch):
    """Every configuration drawn independently of the others."""

    algorithm: Literal["random"]
    settings: NoSettings = NoSettings()

    def sampler(self, problem: Problem, number: int) -> BaseSampler:
        """Return a sampler that draws every parameter."""
        from optuna.samplers import RandomSampler

        return RandomSampler(seed=self.seed_of(number))
