"""Rules computed for many configurations at once, a column of values for each parameter.

A comparison one side of which has no finite value, as after a division by 0, is neither kept nor
broken; nor is its opposite. A rule counts as kept only where it is certainly true.

| a     | b     | a and b | a or b |
| ----- | ----- | ------- | ------ |
| true  | none  | none    | true   |
| none  | true  | none    | none   |
| false | none  | false   | none   |
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

from hpo_pipeline.experiment.rules.rule import WORDS, name_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
Columns = Mapping[str, Any]
"""Arrays of one length, of floats or, for texts, of objects; or single values."""


@dataclass(frozen=True)
class Truth:
    """Where a condition is true, where it is false, and how far it is from being either."""

    yes: Bools
    no: Bools
    to_yes: Floats
    to_no: Floats

    def __and__(self, other: Truth) -> Truth:
        import numpy as np

        return Truth(
            self.yes & other.yes,
            self.no | (self.yes & other.no),
            self.to_yes + other.to_yes,
            np.minimum(self.to_no, other.to_no),
        )

    def __or__(self, other: Truth) -> Truth:
        return ~(~self & ~other)

    def __invert__(self) -> Truth:
        return Truth(self.no, self.yes, self.to_no, self.to_yes)


def truth(node: ast.expr, columns: Columns) -> Truth:
    """Return where a condition holds.

    Raises:
        KeyError: a column is missing.
    """
    import numpy as np

    with np.errstate(all="ignore"):
        return _truth(node, columns)


def _truth(node: ast.expr, columns: Columns) -> Truth:
    match node:
        case ast.BoolOp(op=op, values=values):
            parts = [_truth(value, columns) for value in values]
            return reduce(Truth.__and__ if isinstance(op, ast.And) else Truth.__or__, parts)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return ~_truth(operand, columns)
        case ast.Compare(left=left, ops=[ast.In() | ast.NotIn() as op], comparators=[right]):
            assert isinstance(right, ast.List | ast.Tuple)
            value = _value(left, columns)
            members = (_compared(ast.Eq(), value, _value(e, columns)) for e in right.elts)
            found = reduce(Truth.__or__, members)
            return ~found if isinstance(op, ast.NotIn) else found
        case ast.Compare(left=left, ops=ops, comparators=rights):
            values = [_value(side, columns) for side in (left, *rights)]
            parts = [_compared(op, values[i], values[i + 1]) for i, op in enumerate(ops)]
            return reduce(Truth.__and__, parts)
    return _compared(ast.Eq(), _value(node, columns), 1.0)


def _compared(op: ast.cmpop, left: Any, right: Any) -> Truth:
    import numpy as np

    if _is_text(left) or _is_text(right):
        equal = np.asarray(np.asarray(left, object) == np.asarray(right, object), bool)
        found = Truth(equal, ~equal, np.where(equal, 0.0, 1.0), np.where(equal, 1.0, 0.0))
        return ~found if isinstance(op, ast.NotEq) else found
    left, right = np.asarray(left, float), np.asarray(right, float)
    known = np.isfinite(left) & np.isfinite(right)
    distance = np.where(known, np.abs(left - right), np.inf)
    match op:
        case ast.Eq() | ast.NotEq():
            yes = left == right
            found = Truth(yes & known, ~yes & known, distance, np.where(yes | ~known, 1.0, 0.0))
            return ~found if isinstance(op, ast.NotEq) else found
        case ast.Lt() | ast.GtE():
            yes, is_opposite = left < right, isinstance(op, ast.GtE)
        case _:  # Gt, LtE
            yes, is_opposite = left > right, isinstance(op, ast.LtE)
    # A strict comparison is not yet met where both sides are equal.
    missing = np.where(yes & known, 0.0, np.maximum(distance, np.finfo(float).tiny))
    found = Truth(yes & known, ~yes & known, missing, np.where(yes | ~known, distance, 0.0))
    return ~found if is_opposite else found


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or getattr(getattr(value, "dtype", None), "kind", "") == "O"


def _value(node: ast.expr, columns: Columns) -> Any:
    """Return the column of an expression; not a number where arithmetic has no result."""
    import numpy as np

    name = name_of(node)
    if name is not None:
        return columns[name]
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=word):
            return float(WORDS[word])
        case ast.UnaryOp(op=op, operand=operand):
            value = np.asarray(_value(operand, columns), float)
            return -value if isinstance(op, ast.USub) else value
        case ast.BinOp(left=left, op=op, right=right):
            sides = (np.asarray(_value(side, columns), float) for side in (left, right))
            return _arithmetic()[type(op)](*sides)
        case ast.Call(func=ast.Name(id="log"), args=[argument]):
            return np.log(np.asarray(_value(argument, columns), float))
        case ast.Call(func=ast.Name(id=function), args=arguments):
            values = [np.asarray(_value(argument, columns), float) for argument in arguments]
            return reduce(np.minimum if function == "min" else np.maximum, values)
    raise AssertionError("unreachable: a rule has no other node")


def _arithmetic() -> dict[type[ast.operator], Callable[[Any, Any], Any]]:
    import numpy as np

    def divide(left: Any, right: Any) -> Any:
        return np.where(right == 0, np.nan, left / right)

    return {
        ast.Add: np.add,
        ast.Sub: np.subtract,
        ast.Mult: np.multiply,
        ast.Div: divide,
        ast.FloorDiv: lambda left, right: np.floor(divide(left, right)),
        ast.Mod: np.mod,
        ast.Pow: lambda left, right: np.power(left, right),
    }
