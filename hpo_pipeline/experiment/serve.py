"""The section `serve`: the artefact that a deployment would run, on which a trial is measured."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from hpo_pipeline.experiment.prices import INSTANCE_LABEL
from hpo_pipeline.experiment.space import Assignments, Count, Frozen, as_tuple, section

PRECISIONS = {"torch": ("none", "bf16"), "onnx": ("none", "int8")}
"""How the weights of each format can be stored; `none` is as they were trained."""
MAX_OTHERS = 7
EVALUATED_AT_ONCE = 64
EXACT = 1e-4
"""How far an artefact that is not quantised may be from PyTorch, in any output."""


class Serve(Frozen):
    """How a model is served: `format` and `quantize` make the artefact, the others its host.

    `max_drift` is how far any output of the artefact may be from that of the trained model; where
    it is left out, an artefact that is not quantised must be within 1e-4, and a quantised one is
    judged by its metrics alone. With `lengths`, the shortest and the longest, requests have any
    number of tokens between them; without, they are as long as the texts of the data. On a cluster
    `node_selector` names the nodes that serve: there the winner and the champion are measured.

    A list has several variants: each trial makes and measures them all, and counts as the best of
    them, by the constraints and the objective. The first one has the `others`.
    """

    format: Literal["torch", "onnx"] = "torch"
    quantize: Literal["none", "int8", "bf16"] = "none"
    threads: Count | None = None
    batch: Annotated[int, Field(ge=1, le=4096)] = 1
    lengths: Annotated[tuple[Count, Count], BeforeValidator(as_tuple)] | None = None
    max_drift: Annotated[float, Field(gt=0)] | None = None
    node_selector: dict[str, str] = {}
    others: Annotated[
        tuple[Serve, ...], Field(max_length=MAX_OTHERS), BeforeValidator(as_tuple)
    ] = ()

    @model_validator(mode="before")
    @classmethod
    def _first_of_several(cls, content: Any) -> Any:
        """Take a list as its first variant with the others."""
        if not isinstance(content, list | tuple):
            return content
        if not content or not all(isinstance(each, dict) for each in content):
            raise ValueError("must be a mapping, or a list of such variants")
        return {**content[0], "others": tuple(content[1:])}

    @model_validator(mode="after")
    def _possible(self) -> Self:
        allowed = PRECISIONS[self.format]
        if self.quantize not in allowed:
            raise ValueError(
                f"quantize: {self.format} can be served with {' or '.join(allowed)}, "
                f"got {self.quantize}"
            )
        if self.lengths is not None and self.lengths[0] > self.lengths[1]:
            raise ValueError(
                f"lengths: must be the shortest and the longest, got {list(self.lengths)}"
            )
        titles = [way.title for way in self.variants]
        if len(set(titles)) < len(titles):
            raise ValueError(f"each variant at most once, got {', '.join(titles)}")
        if len(titles) > 1 and any(way.quantize == "bf16" for way in self.variants):
            raise ValueError(
                "bf16 cannot be one of several variants, for it changes the weights themselves; "
                "search it instead: serve.quantize in the space"
            )
        if any(way.others or way.node_selector for way in self.others):
            raise ValueError("node_selector belongs to the first variant, and no list into a list")
        return self

    @property
    def variants(self) -> tuple[Serve, ...]:
        """Every artefact that a trial makes, in the order of the file."""
        return (self.model_copy(update={"others": ()}), *self.others) if self.others else (self,)

    @property
    def allowed_drift(self) -> float | None:
        """How far an output may be off; None for any distance."""
        if self.max_drift is None and self.quantize == "none":
            return EXACT
        return self.max_drift

    @property
    def rows_at_once(self) -> int:
        """How many rows an evaluation gives to the artefact at a time.

        int8 scales what it computes by the largest value in the batch, so the answer to a row
        depends on its neighbours: it is evaluated on requests as they are served.
        """
        return self.batch if self.quantize == "int8" else EVALUATED_AT_ONCE

    @property
    def title(self) -> str:
        """The artefact in words."""
        return self.format if self.quantize == "none" else f"{self.format} {self.quantize}"

    @property
    def instance(self) -> str | None:
        """The type of the instances that serve, where `node_selector` names one."""
        return self.node_selector.get(INSTANCE_LABEL)

    @property
    def is_plain(self) -> bool:
        """Whether the trained model itself is served."""
        return self.format == "torch" and self.quantize == "none"

    def assigned(self, assignments: Assignments) -> Serve:
        """Return how a trial is served: with the values that the search chose for it.

        Raises:
            ValidationError: they do not go together.
        """
        return Serve.model_validate({**self.model_dump(), **section(assignments, "serve")})


PLAIN = Serve()
"""The trained model itself."""
