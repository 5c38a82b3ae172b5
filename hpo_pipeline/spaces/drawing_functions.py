"""What a function draws, read in its source: it is parsed and never run.

Known is one call of a generator of numpy or random, alone or as an exponent of a number.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_RANDOM = ("random", "numpy.random", "np.random", "numpy", "np")
MOST_POWERS = 64


@dataclass(frozen=True)
class Drawn:
    """A range or a list of values, and the expression that says so."""

    text: str
    low: float = 0.0
    high: float = 0.0
    is_whole: bool = False
    is_log: bool = False
    values: tuple[Any, ...] = ()


def drawn(function: Callable[..., Any]) -> Drawn | None:
    """Return what a function draws, or None where its source does not say it plainly."""
    expression = _expression(function)
    if expression is None:
        return None
    text = ast.unparse(expression)
    if isinstance(expression, ast.Call) and _name(expression.func) in ("int", "float", "round"):
        expression = expression.args[0] if len(expression.args) == 1 else expression
    if isinstance(expression, ast.BinOp) and isinstance(expression.op, ast.Pow):
        base, inner = _number(expression.left), _call(expression.right)
        return _power(text, base, inner) if base is not None and inner is not None else None
    return _call(expression, text)


def _power(text: str, base: float, inner: Drawn) -> Drawn | None:
    if inner.is_whole and inner.high - inner.low < MOST_POWERS:
        exponents = range(round(inner.low), round(inner.high) + 1)
        values = tuple(base**exponent for exponent in exponents)
        return Drawn(text, values=values)
    if inner.is_whole or inner.values or base <= 1:
        return None
    return Drawn(text, base**inner.low, base**inner.high, is_log=True)


def _call(node: ast.expr, text: str = "") -> Drawn | None:
    if not isinstance(node, ast.Call) or node.keywords:
        return None
    place, _, method = _name(node.func).rpartition(".")
    if place not in _RANDOM:
        return None
    if method == "choice" and len(node.args) == 1:
        return _chosen(node.args[0], text)
    numbers = [_number(argument) for argument in node.args]
    ends = [number for number in numbers if number is not None]
    if len(ends) < len(numbers) or len(ends) not in (1, 2):
        return None
    if method in ("randint", "randrange"):
        low, high = (ends[0], ends[1]) if len(ends) == 2 else (0, ends[0])
        # Of random.randint alone, the upper end can be drawn.
        is_inclusive = method == "randint" and place == "random"
        return Drawn(text, low, high if is_inclusive else high - 1, is_whole=True)
    if method == "uniform":
        # numpy's uniform of one number starts there, and ends at 1.
        low, high = (ends[0], ends[1]) if len(ends) == 2 else (min(ends[0], 1.0), max(ends[0], 1.0))
        return Drawn(text, low, high)
    return None


def _chosen(node: ast.expr, text: str) -> Drawn | None:
    try:
        values = ast.literal_eval(node)
    except ValueError:
        return None
    return Drawn(text, values=tuple(values)) if isinstance(values, list | tuple) else None


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    return ""


def _number(node: ast.expr) -> float | None:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _expression(function: Callable[..., Any]) -> ast.expr | None:
    """Return the expression that a function returns; None where the source is not to be had."""
    if not isinstance(function, types.FunctionType):
        return None
    try:
        source = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        return None
    tree = _parsed(source)
    if tree is None:
        return None
    if function.__name__ == "<lambda>":
        lambdas = [node for node in ast.walk(tree) if isinstance(node, ast.Lambda)]
        same = [node for node in lambdas if _is_code_of(node, function)]
        bodies = {ast.dump(node.body): node.body for node in same}
        return next(iter(bodies.values())) if len(bodies) == 1 else None
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == function.__name__:
            last = node.body[-1]
            is_plain = all(isinstance(part, ast.Expr) for part in node.body[:-1])  # its docstring
            return last.value if is_plain and isinstance(last, ast.Return) else None
    return None


def _parsed(source: str) -> ast.AST | None:
    """Parse the lines of a function, which may begin or end amid an expression."""
    stripped = source.strip().rstrip(",")
    for text in (stripped, f"({stripped})", f"{{{stripped}}}", f"f({stripped})", stripped + ")"):
        try:
            return ast.parse(text)
        except SyntaxError:
            continue
    start = source.find("lambda")
    for end in range(len(source), max(start, 0), -1):
        try:
            return ast.parse(source[start:end].strip().rstrip(","), mode="eval")
        except SyntaxError:
            continue
    return None


def _is_code_of(node: ast.Lambda, function: types.FunctionType) -> bool:
    """Return whether a lambda of the source is this function; it is compiled, and not run."""
    code = compile(ast.Expression(ast.fix_missing_locations(node)), "<space>", "eval")
    own = [part for part in code.co_consts if isinstance(part, types.CodeType)]
    there = function.__code__
    # Not co_code: the compiler calls a module's function otherwise where it sees the import.
    return any(
        part.co_names == there.co_names and part.co_consts == there.co_consts for part in own
    )
