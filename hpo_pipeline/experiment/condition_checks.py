"""Whether a condition of `when` can be met by the parameter that it asks about."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hpo_pipeline.experiment.conditions import Comparison, Value, comparisons, is_comparison, meets

if TYPE_CHECKING:
    from hpo_pipeline.experiment.space import ChoiceParameter, FloatParameter, IntParameter


def condition_fault(
    other: FloatParameter | IntParameter | ChoiceParameter, condition: Value
) -> str | None:
    """Return why a condition on a parameter cannot be met, or None."""
    if not isinstance(condition, str) or not is_comparison(condition):
        if other.type == "float":
            return f"must be a comparison such as '>= {other.low:g}' for a float, got {condition!r}"
        return None if other.contains(condition) else f"{condition!r} is not in its space"
    try:
        parts = comparisons(condition)
    except ValueError as error:
        return str(error)
    fault = _kind_fault(other, parts)
    if fault is not None:
        return f"{fault}, got {condition!r}"
    if other.type == "choice":
        values = list(other.values)
        listed = ", ".join(map(str, other.values))
    else:
        values = _candidates(other, [float(part.operand) for part in parts])
        listed = f"{other.low:g} to {other.high:g}"
    if any(meets(value, (condition,)) for value in values):
        return None
    return f"{condition!r} never holds; its values are {listed}"


def _kind_fault(
    other: FloatParameter | IntParameter | ChoiceParameter, parts: tuple[Comparison, ...]
) -> str | None:
    """Return what is wrong between the kind of a parameter and what is asked of it."""
    if other.type != "choice":
        is_text = any(isinstance(part.operand, str) for part in parts)
        return "a number is needed" if is_text else None
    has_order = any(part.sign not in ("==", "!=") for part in parts)
    if has_order and any(isinstance(value, bool | str) for value in other.values):
        return "its values have no order"
    return None


def _candidates(parameter: FloatParameter | IntParameter, near: list[float]) -> list[Value]:
    """Return values of a range among which is one that compares as asked, if any does.

    Comparisons change their answer only at the numbers that they name.
    """
    found: list[Value] = [parameter.low, parameter.high]
    count = parameter.count()
    for number in sorted(near):
        if not parameter.low <= number <= parameter.high:
            continue
        if count is None or parameter.step is None:
            others = (other for other in near if other > number)
            found += [number, (number + min(others, default=parameter.high)) / 2]
            found.append((number + parameter.low) / 2)
            continue
        place = math.floor((number - parameter.low) / parameter.step)
        found += [parameter.point(i) for i in range(place - 1, place + 3) if 0 <= i < count]
    return [value for value in found if parameter.contains(value)]
