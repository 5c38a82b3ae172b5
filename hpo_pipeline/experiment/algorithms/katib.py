"""Katib's own algorithms, by their Katib names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from hpo_pipeline.experiment.algorithms.base import AnySearch, Problem
from hpo_pipeline.experiment.space import PlainValue
from hpo_pipeline.experiment.stock import KatibName

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class StockSearch(AnySearch):
    """An algorithm of the Katib in use, by its Katib name; only the Katib engine has it."""

    service = None
    knows_rules = False

    algorithm: Literal["katib"]
    name: KatibName
    settings: dict[str, PlainValue] = {}

    def sampler(self, problem: Problem, number: int) -> BaseSampler:
        """Refuse: only Katib has this algorithm."""
        raise NotImplementedError(f"katib:{self.name} runs in Katib only")
