"""The search space: what may vary between trials, and how a value is written and read.

Neither Optuna nor Katib is known here: their distributions are derived by pure functions.
A name says what is varied: `learning_rate` is a field of transformers.TrainingArguments,
`model.num_hidden_layers` a field of the model's config, `task.max_length` a field of the task.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    RootModel,
    ValidationInfo,
    field_validator,
    model_validator,
)

from hpo_pipeline.experiment.combinations import combinations
from hpo_pipeline.experiment.condition_checks import condition_fault
from hpo_pipeline.experiment.conditions import meets

Value = bool | int | float | str
Assignments = Mapping[str, Value]

# Katib joins the command line with spaces into `sh -c` without quoting, so text values must be
# inert there. The same file runs on both engines, hence the rule holds on this machine too.
SAFE_TEXT = re.compile(r"[\w.:/@%+,-]+")
MAX_INT = 2**53
"""Whole numbers up to here are exact as floats, which is how Optuna stores them."""
MAX_STEPS = 1e15
MAX_PARAMETERS = 200
MAX_VALUES = 1_000
ANY_NAMES = "any_names"
"""In the context of a validation: the parameters are not ours, so any name will do."""
NAME = re.compile(r"((model|task|lora|serve)\.)?[A-Za-z_][A-Za-z0-9_]*")


class Frozen(BaseModel):
    """An immutable part of the experiment file that refuses unknown keys and other types."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


def as_tuple(value: object) -> object:
    """Return a list as a tuple, which is what a frozen model holds."""
    return tuple(value) if isinstance(value, list) else value


def _plain(value: object) -> object:
    if not isinstance(value, bool | int | float | str):
        raise ValueError(f"must be true, false, a number or text, got {value!r}")
    return value


Count = Annotated[int, Field(ge=1)]
PlainValue = Annotated[Value, BeforeValidator(_plain)]


def _conditions(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {k: as_tuple(v) if isinstance(v, list) else (v,) for k, v in value.items()}


class Conditional(Frozen):
    """A parameter that counts only where others, earlier in the file, meet these conditions.

    Each is a value, comparisons (`">= 3"`, `"> 2 and < 8"`), or a list of them, of which one
    suffices.
    """

    when: Annotated[
        dict[str, tuple[PlainValue, ...]],
        BeforeValidator(
            _conditions, json_schema_input_type=dict[str, PlainValue | tuple[PlainValue, ...]]
        ),
    ] = {}


class FloatParameter(Conditional):
    """A real number in [low, high], uniform, log-uniform, or on a grid of `step`."""

    type: Literal["float"]
    low: float
    high: float
    log: bool = False
    step: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        _check_bounds(self.low, self.high, log=self.log, step=self.step)
        return self

    def parse(self, text: str) -> float:
        """Return the value that `render` wrote."""
        return float(text)

    def contains(self, value: Value) -> bool:
        """Return whether a value is in the range (rounding of steps is tolerated)."""
        if isinstance(value, bool | str) or not self.low <= value <= self.high:
            return False
        return self.step is None or _is_on_step(float(value), self.low, self.step)

    def count(self) -> int | None:
        """Return the number of values, or None where the range is continuous."""
        if self.step is None:
            return None
        low, high, step = (Decimal(str(number)) for number in (self.low, self.high, self.step))
        return int((high - low) // step) + 1

    def point(self, i: int) -> float:
        """Return the i-th value: its decimal for a range with a step (0.3, not 3 * 0.1)."""
        if i == 0 or self.step is None:
            return self.low
        return float(Decimal(str(self.low)) + i * Decimal(str(self.step)))


class IntParameter(Conditional):
    """A whole number in [low, high], uniform, log-uniform, or every `step`-th."""

    type: Literal["int"]
    low: Annotated[int, Field(ge=-MAX_INT, le=MAX_INT)]
    high: Annotated[int, Field(ge=-MAX_INT, le=MAX_INT)]
    log: bool = False
    step: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        _check_bounds(self.low, self.high, log=self.log, step=None if self.step == 1 else self.step)
        return self

    def parse(self, text: str) -> int:
        """Return the value that `render` wrote."""
        return int(text)

    def contains(self, value: Value) -> bool:
        """Return whether a value is one of the range."""
        if isinstance(value, bool) or not isinstance(value, int):
            return False
        return self.low <= value <= self.high and (value - self.low) % self.step == 0

    def count(self) -> int:
        """Return the number of values."""
        return (self.high - self.low) // self.step + 1

    def point(self, i: int) -> int:
        """Return the i-th value."""
        return self.low + i * self.step


class ChoiceParameter(Conditional):
    """One of a list of values, without an order between them."""

    type: Literal["choice"]
    values: Annotated[
        tuple[PlainValue, ...],
        Field(min_length=1, max_length=MAX_VALUES),
        BeforeValidator(as_tuple),
    ]

    @field_validator("values")
    @classmethod
    def _values(cls, values: tuple[Value, ...]) -> tuple[Value, ...]:
        texts = [render(value) for value in values]
        # 1, 1.0 and True are written differently, but Optuna takes them for the same choice.
        if len(set(texts)) < len(texts) or len(set(values)) < len(values):
            raise ValueError(f"values must differ (1, 1.0 and true do not), got {', '.join(texts)}")
        for value in values:
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"numbers must be finite, got {value}")
            if isinstance(value, str) and not SAFE_TEXT.fullmatch(value):
                raise ValueError(
                    f"text may hold letters, digits and . _ : / @ % + , - only, got {value!r}"
                )
        return values

    def parse(self, text: str) -> Value:
        """Return the member of `values` that `render` wrote as this text.

        Raises:
            ValueError: no member is written so.
        """
        for value in self.values:
            if render(value) == text:
                return value
        raise ValueError(f"{text!r} is none of {', '.join(map(render, self.values))}")

    def contains(self, value: Value) -> bool:
        """Return whether a value is a member; True is not 1."""
        return any(type(value) is type(member) and value == member for member in self.values)

    def count(self) -> int:
        """Return the number of values."""
        return len(self.values)

    def point(self, i: int) -> Value:
        """Return the i-th value."""
        return self.values[i]


PARAMETERS: dict[str, type[FloatParameter | IntParameter | ChoiceParameter]] = {
    "float": FloatParameter,
    "int": IntParameter,
    "choice": ChoiceParameter,
}
Parameter = Annotated[FloatParameter | IntParameter | ChoiceParameter, Field(discriminator="type")]


class Space(RootModel[dict[str, Parameter]]):
    """The parameters of a search by name, in the order of the file."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="after")
    def _names(self, info: ValidationInfo) -> Self:
        if not self.root:
            raise ValueError("at least one parameter is needed")
        if len(self.root) > MAX_PARAMETERS:
            raise ValueError(f"at most {MAX_PARAMETERS} parameters, got {len(self.root)}")
        is_foreign = bool(info.context and info.context.get(ANY_NAMES))
        wrong = [] if is_foreign else [n for n in self.root if not NAME.fullmatch(n)]
        if wrong:
            raise ValueError(
                f"a name is a field of TrainingArguments, or model.FIELD, or task.FIELD; "
                f"got {', '.join(map(repr, wrong))}"
            )
        earlier: list[str] = []
        faults: list[str] = []
        for name in self.root:
            faults += self._condition_faults(name, earlier)
            earlier.append(name)
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _condition_faults(self, name: str, earlier: list[str]) -> list[str]:
        faults = []
        for other, conditions in self.root[name].when.items():
            where = f"{name}.when.{other}"
            if other not in earlier:
                listed = ", ".join(earlier) or "none"
                faults.append(f"{where}: no parameter before it; there are {listed}")
                continue
            found = (condition_fault(self.root[other], one) for one in conditions)
            faults += [f"{where}: {fault}" for fault in found if fault]
        return faults

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]
        return iter(self.root)

    def __getitem__(self, name: str) -> FloatParameter | IntParameter | ChoiceParameter:
        return self.root[name]

    def __contains__(self, name: object) -> bool:
        return name in self.root

    def __len__(self) -> int:
        return len(self.root)

    @property
    def has_conditions(self) -> bool:
        """Whether any parameter counts only under conditions."""
        return any(parameter.when for parameter in self.root.values())

    def active(self, assignments: Assignments) -> dict[str, Value]:
        """Return the assignments without those whose conditions do not hold."""
        kept: dict[str, Value] = {}
        for name in self.root:
            if name in assignments and self.holds(name, kept):
                kept[name] = assignments[name]
        return kept

    def holds(self, name: str, kept: Assignments) -> bool:
        """Return whether the conditions of a parameter hold, given the active ones before it."""
        return all(
            other in kept and meets(kept[other], conditions)
            for other, conditions in self.root[name].when.items()
        )

    def size(self) -> int | None:
        """Return how many configurations there are.

        None where a parameter is continuous, or conditions combine in too many ways to count.
        """
        return combinations(self.root, self.holds)

    def parse(self, texts: Mapping[str, str]) -> dict[str, Value]:
        """Return typed assignments from their texts.

        Raises:
            ValueError: a name is not in the space, or a text does not fit its parameter.
        """
        values: dict[str, Value] = {}
        for name, text in texts.items():
            if name not in self.root:
                raise ValueError(f"{name}: not in the space ({', '.join(self.root)})")
            try:
                values[name] = self.root[name].parse(text)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
        return values


def render(value: Value) -> str:
    """Write a value so that the parameter's `parse` gives it back exactly."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


def section(assignments: Assignments, prefix: str) -> dict[str, Any]:
    """Return the assignments under a prefix ("model", "task"), or without one ("")."""
    if not prefix:
        return {name: value for name, value in assignments.items() if "." not in name}
    start = prefix + "."
    return {
        name.removeprefix(start): value
        for name, value in assignments.items()
        if name.startswith(start)
    }


def _check_bounds(low: float, high: float, *, log: bool, step: float | None) -> None:
    if low >= high:
        raise ValueError(f"low must be below high, got low={low}, high={high}")
    if not math.isfinite(high - low):
        raise ValueError(f"the range is too wide, got low={low}, high={high}")
    if log and low <= 0:
        raise ValueError(f"log needs low above 0, got low={low}")
    if log and step is not None:
        raise ValueError(f"log and step exclude each other, got step={step}")
    if step is not None and step > high - low:
        raise ValueError(f"step must not exceed high - low, got step={step}")
    if step is not None and (high - low) / step > MAX_STEPS:
        raise ValueError(f"step is too small for the range, got step={step}")


def _is_on_step(value: float, low: float, step: float) -> bool:
    steps = (value - low) / step
    return abs(steps - round(steps)) < 1e-6
