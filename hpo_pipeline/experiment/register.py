"""The section `register`: where the winner goes, and what it takes to replace the champion."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from hpo_pipeline.experiment.space import Frozen
from hpo_pipeline.experiment.uris import RegistryUri

MIN_TEST_ROWS = 50
"""With fewer rows no interval is given: the percentiles of a bootstrap would be too narrow."""


class MinGain(Frozen):
    """By how much a model must beat the champion on the test rows: a number stands for `gain`.

    `gain` is in the unit of the objective; `points` are hundredths of it, as of an accuracy. With
    `confidence`, that much must be gained in so large a share of samples of the test rows.
    """

    gain: Annotated[float, Field(ge=0)] = 0.0
    points: Annotated[float, Field(ge=0)] | None = None
    confidence: Annotated[float, Field(ge=0.5, lt=1)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _number(cls, content: Any) -> Any:
        is_number = isinstance(content, int | float) and not isinstance(content, bool)
        if not is_number and not isinstance(content, dict | MinGain):
            raise ValueError(
                "must be a number, or a mapping such as {points: 0.5, confidence: 0.9}"
            )
        return {"gain": content} if is_number else content

    @model_validator(mode="after")
    def _one_unit(self) -> Self:
        if self.gain and self.points is not None:
            raise ValueError("give gain, or points, which are hundredths of it, and not both")
        return self

    @property
    def least(self) -> float:
        """The least gain, in the unit of the objective."""
        return self.gain if self.points is None else self.points / 100


MinGainSection = Annotated[
    MinGain, BeforeValidator(lambda given: given, json_schema_input_type=float | MinGain)
]


class Register(Frozen):
    """Where the winner goes, and when it replaces the champion."""

    model: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$")]
    registry: RegistryUri | None = None
    min_gain: MinGainSection = MinGain()
