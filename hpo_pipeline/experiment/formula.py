"""Formulas and constraints over metrics: arithmetic from an allow-list, never `eval`."""

from __future__ import annotations

import ast
import math
import operator
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator

from hpo_pipeline.experiment.metrics import Metrics

MAX_FORMULA_LENGTH = 500


_BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


_COMPARE: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


_FUNCTIONS: dict[str, Callable[..., float]] = {"min": min, "max": max, "log": math.log}


ALLOWED = "numbers, metric names, + - * / **, comparisons, min(…), max(…), log(…)"


def parsed(text: str) -> ast.Expression:
    """Return the tree of an expression.

    Raises:
        ValueError: the text is too long, or no expression.
    """
    if len(text) > MAX_FORMULA_LENGTH:
        raise ValueError(f"a formula has at most {MAX_FORMULA_LENGTH} characters")
    try:
        return ast.parse(text.strip(), mode="eval")
    except (SyntaxError, RecursionError, MemoryError, ValueError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else "too deeply nested"
        raise ValueError(f"not a formula, got {text!r} ({reason})") from error


@lru_cache(maxsize=1024)
def _checked(text: str) -> ast.Expression:
    """Return the tree of a formula; a search asks for the same few at every trial."""
    tree = parsed(text)
    try:
        _check(tree.body)
    except RecursionError as error:
        raise ValueError(f"not a formula, got {text!r} (too deeply nested)") from error
    return tree


@lru_cache(maxsize=1024)
def _names(text: str) -> frozenset[str]:
    nodes = list(ast.walk(_checked(text)))
    calls = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    found = (node for node in nodes if isinstance(node, ast.Name))
    return frozenset(node.id for node in found if id(node) not in calls)


@dataclass(frozen=True)
class Formula:
    """An arithmetic expression over metrics.

    Raises:
        ValueError: the text is not an expression of the allowed kind.
    """

    text: str

    def __post_init__(self) -> None:
        _checked(self.text)

    @property
    def _tree(self) -> ast.Expression:
        return _checked(self.text)

    @property
    def names(self) -> frozenset[str]:
        """The metrics that the formula reads."""
        return _names(self.text)

    def evaluate(self, metrics: Metrics) -> float:
        """Return the value; not a number where the arithmetic has no result.

        Raises:
            KeyError: a metric that the formula reads is missing.
        """
        return _finite(self._tree.body, metrics)


@dataclass(frozen=True)
class Constraint:
    """One comparison `left <= right` (or <, >=, >) that a usable configuration satisfies.

    Raises:
        ValueError: the text is not such a comparison.
    """

    text: str

    def __post_init__(self) -> None:
        node = Formula(self.text)._tree.body
        if not (
            isinstance(node, ast.Compare)
            and len(node.ops) == 1
            and isinstance(node.ops[0], ast.Lt | ast.LtE | ast.Gt | ast.GtE)
        ):
            raise ValueError(
                f"must be one comparison with <=, <, >= or >, got {self.text!r}; "
                f"for example 'latency_p95_ms <= 15'"
            )

    @property
    def names(self) -> frozenset[str]:
        """The metrics that the constraint reads."""
        return Formula(self.text).names

    def violation(self, metrics: Metrics) -> float:
        """Return by how much the constraint is missed: 0 or less where it holds.

        A missing metric, or a comparison that has no result, is an infinite violation.
        """
        node = Formula(self.text)._tree.body
        assert isinstance(node, ast.Compare)
        try:
            left, right = _finite(node.left, metrics), _finite(node.comparators[0], metrics)
        except KeyError:
            return math.inf
        if not (math.isfinite(left) and math.isfinite(right)):
            return math.inf
        if _COMPARE[type(node.ops[0])](left, right):
            return -abs(left - right)
        # A strict comparison is missed by nothing where both sides are equal.
        return max(abs(left - right), math.ulp(0.0))


def _formula_text(text: str) -> str:
    return Formula(text).text


def _constraint_text(text: str) -> str:
    return Constraint(text).text


FormulaText = Annotated[str, AfterValidator(_formula_text)]


ConstraintText = Annotated[str, AfterValidator(_constraint_text)]


def _check(node: ast.expr) -> None:
    """Raise ValueError for a node that formulas do not have."""
    match node:
        case ast.Constant(value=bool()):
            pass
        case ast.Constant(value=int() | float() as number) if number <= sys.float_info.max:
            return
        case ast.Name():
            return
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            return _check(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            _check(left)
            return _check(right)
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARE:
            _check(left)
            return _check(right)
        case ast.Call(func=ast.Name(id=name), args=[_, *_] as args, keywords=[]):
            arity_fits = name != "log" or len(args) == 1
            if name in _FUNCTIONS and arity_fits and not any(map(_is_starred, args)):
                for arg in args:
                    _check(arg)
                return None
    raise ValueError(f"allowed are {ALLOWED}, got {ast.unparse(node)!r}")


def _is_starred(node: ast.expr) -> bool:
    return isinstance(node, ast.Starred)


def _finite(node: ast.expr, metrics: Metrics) -> float:
    try:
        value = _evaluate(node, metrics)
        return value if isinstance(value, float) and math.isfinite(value) else math.nan
    except (ArithmeticError, ValueError, TypeError):  # TypeError: a complex number compared
        return math.nan


def _evaluate(node: ast.expr, metrics: Metrics) -> float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=name):
            return float(metrics[name])
        case ast.UnaryOp(op=op, operand=operand):
            value = _evaluate(operand, metrics)
            return -value if isinstance(op, ast.USub) else value
        case ast.BinOp(left=left, op=op, right=right):
            return _BINARY[type(op)](_evaluate(left, metrics), _evaluate(right, metrics))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return float(_COMPARE[type(op)](_evaluate(left, metrics), _evaluate(right, metrics)))
        case ast.Call(func=ast.Name(id=name), args=args):
            values = [_evaluate(arg, metrics) for arg in args]
            return float(
                values[0] if name != "log" and len(values) == 1 else _FUNCTIONS[name](*values)
            )
    raise AssertionError("unreachable: _check refuses every other node")
