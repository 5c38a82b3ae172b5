"""The section `task.checkpoint`: how often a trial saves what it needs to resume."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field

from hpo_pipeline.experiment.space import Frozen

_EVERY = re.compile(r"(?P<count>[1-9]\d{0,8}) ?(?P<unit>steps?|min|s)")
_SECONDS = {"min": 60.0, "s": 1.0}


def _checked(value: object) -> object:
    is_steps = type(value) is int and 1 <= value < 10**9
    if not is_steps and not (isinstance(value, str) and _EVERY.fullmatch(value)):
        raise ValueError(
            f'must be a number of training steps, or a time such as "10 min" or "90 s", '
            f"got {value!r}"
        )
    return value


Every = Annotated[
    int | str,
    BeforeValidator(_checked),
    Field(json_schema_extra={"examples": [500, "500 steps", "10 min"]}),
]


class Checkpoint(Frozen):
    """A trial saves its training `every` so many steps, or so much time, and can then resume."""

    every: Every

    @property
    def steps(self) -> int | None:
        """The training steps between two checkpoints; None where time decides."""
        if isinstance(self.every, int):
            return self.every
        match = _EVERY.fullmatch(self.every)
        return int(match["count"]) if match and match["unit"].startswith("step") else None

    @property
    def seconds(self) -> float | None:
        """The seconds between two checkpoints; None where steps decide."""
        match = _EVERY.fullmatch(str(self.every))
        if match is None or match["unit"] not in _SECONDS:
            return None
        return int(match["count"]) * _SECONDS[match["unit"]]
