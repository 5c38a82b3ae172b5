"""What `when` may ask of another parameter: a value, or comparisons such as `>= 3`.

A condition that starts with a comparison sign is never the value of a choice, because such values
hold no such signs (space.SAFE_TEXT).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

Value = bool | int | float | str
SIGNS: dict[str, Callable[[Any, Any], Any]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_ONE = re.compile(r"(>=|<=|==|!=|>|<)\s*([^\s<>=!]+)")
_BEGIN = re.compile(r"\s*[<>=!]")


@dataclass(frozen=True)
class Comparison:
    """One sign and what stands to the right of it: a number, or the text of a choice."""

    sign: str
    operand: float | str

    def holds(self, value: Value) -> bool:
        """Return whether a value compares so; an order between texts never does."""
        if isinstance(self.operand, str):
            is_equal = _text(value) == self.operand
            return is_equal if self.sign == "==" else not is_equal
        if isinstance(value, bool | str):
            return self.sign == "!="
        return bool(SIGNS[self.sign](value, self.operand))

    def compared(self, values: Any) -> Any:
        """Return where the numbers of an array compare so."""
        return SIGNS[self.sign](values, self.operand)


def is_comparison(condition: Value) -> bool:
    """Return whether a condition compares instead of naming a value."""
    return isinstance(condition, str) and _BEGIN.match(condition) is not None


@lru_cache(maxsize=1024)
def comparisons(text: str) -> tuple[Comparison, ...]:
    """Return the comparisons that a condition joins with `and`.

    Raises:
        ValueError: it is not of that form.
    """
    found = []
    for part in text.split(" and "):
        match = _ONE.fullmatch(part.strip())
        if match is None:
            raise ValueError(
                f"must be a value or comparisons with >, >=, <, <=, == or !=, such as "
                f"'>= 3' or '> 2 and < 8', got {text!r}"
            )
        sign, operand = match.groups()
        number = _number(operand)
        if number is None and sign not in ("==", "!="):
            raise ValueError(f"{sign} needs a number, got {text!r}")
        found.append(Comparison(sign, operand if number is None else number))
    return tuple(found)


def meets(value: Value, conditions: Iterable[Value]) -> bool:
    """Return whether a value is one of the conditions, or compares as one of them asks."""
    return any(_meets(value, condition) for condition in conditions)


def thresholds(conditions: Iterable[Value]) -> list[float]:
    """Return the numbers that conditions name or compare with."""
    found: list[float] = []
    for condition in conditions:
        if isinstance(condition, str) and is_comparison(condition):
            operands = (part.operand for part in comparisons(condition))
            found += [operand for operand in operands if not isinstance(operand, str)]
        elif not isinstance(condition, bool | str):
            found.append(condition)
    return found


def _meets(value: Value, condition: Value) -> bool:
    if isinstance(condition, str) and is_comparison(condition):
        return all(part.holds(value) for part in comparisons(condition))
    return _text(value) == _text(condition)


def _text(value: Value) -> str:
    # As space.render does, which this module is below.
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None
