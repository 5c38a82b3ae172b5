"""The algorithm that suits the experiment; which one that is, says experiment/choosing.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from hpo_pipeline.experiment.algorithms.base import AnySearch, NoSettings, Problem

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class AutoSearch(AnySearch):
    """The algorithm that suits space, budget and objectives."""

    learns_from_earlier = True
    is_choice = True

    algorithm: Literal["auto"]
    settings: NoSettings = NoSettings()

    def sampler(self, problem: Problem, number: int) -> BaseSampler:
        """Refuse: a problem has the algorithm that was chosen."""
        raise NotImplementedError("auto is resolved by Experiment.chosen_search")
