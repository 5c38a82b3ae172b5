"""What to optimise: metrics by name, formulas over them, and constraints.

A formula is read with Python's own parser and evaluated by walking the few node types listed in
`_evaluate`; nothing else is accepted and nothing is ever executed. It knows which metrics exist,
not how they are measured (tasks/ and trial/measuring/ do).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, Self

from pydantic import model_validator

from hpo_pipeline.experiment.formula import Formula, FormulaText
from hpo_pipeline.experiment.metrics import SCORE, Metrics
from hpo_pipeline.experiment.space import Frozen

Goal = Literal["maximize", "minimize"]


class Objective(Frozen):
    """One metric, or a formula over metrics, and the direction that is better."""

    metric: str | None = None
    score: FormulaText | None = None
    goal: Goal

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.metric is None) == (self.score is None):
            raise ValueError("give either metric: NAME or score: FORMULA")
        return self

    @property
    def name(self) -> str:
        """The name of the metric that is optimised; `score` for a formula."""
        return self.metric or SCORE

    @property
    def reads(self) -> frozenset[str]:
        """The metrics that must be measured for it."""
        return Formula(self.score).names if self.score else frozenset({self.name})

    def value(self, metrics: Metrics) -> float:
        """Return the objective's value; not a number where it has none."""
        try:
            return Formula(self.score).evaluate(metrics) if self.score else metrics[self.name]
        except KeyError:
            return math.nan

    def sign(self) -> int:
        """Return 1 where more is better and -1 where less is."""
        return 1 if self.goal == "maximize" else -1


def with_score(metrics: Metrics, objectives: Iterable[Objective]) -> dict[str, float]:
    """Return the metrics with the value of a formula added under `score`."""
    found = {objective.name: objective.value(metrics) for objective in objectives}
    return {**metrics, **{SCORE: found[SCORE]}} if SCORE in found else dict(metrics)
