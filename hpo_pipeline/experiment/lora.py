"""The section `task.lora`: small matrices are trained beside the frozen weights of the model."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from hpo_pipeline.experiment.space import Frozen

ALL_LINEAR = "all-linear"
"""As a target: every linear layer but those that are trained whole."""


def _names(value: object) -> object:
    """Take a list, or one text with commas, which is how a space writes a choice of targets."""
    if isinstance(value, str):
        return tuple(name.strip() for name in value.split(","))
    return tuple(value) if isinstance(value, list) else value


class Lora(Frozen):
    """Low-rank adaptation (Hu et al. 2021, https://arxiv.org/abs/2106.09685).

    The update of a weight is the product of two matrices of `rank`, times alpha / rank. `targets`
    are names of linear layers, by their ends (`query`, `attention.output.dense`), or `all-linear`;
    none takes those that peft knows for the architecture, which are of the attention.
    """

    rank: Annotated[int, Field(ge=1, le=4096)] = 8
    alpha: Annotated[float, Field(gt=0)] = 16.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: Annotated[
        tuple[Annotated[str, Field(min_length=1)], ...],
        BeforeValidator(_names, json_schema_input_type=str | list[str]),
    ] = ()
