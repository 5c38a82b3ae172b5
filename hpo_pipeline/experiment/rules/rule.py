"""A rule between parameters: a condition in the formula language that every trial must keep.

Beside the arithmetic of formulas a rule has parameter names with a dot, texts, `%`, `//`, `in`,
`and`, `or` and `not`. How it is computed is in truth.py; whether its names exist and its types
fit is found by checks/.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from pydantic import AfterValidator

from hpo_pipeline.experiment.formula import parsed

ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.Mod, ast.FloorDiv)
ORDER = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
EQUALITY = (ast.Eq, ast.NotEq)
MEMBERSHIP = (ast.In, ast.NotIn)
FUNCTIONS = ("min", "max", "log")
WORDS = {"true": True, "false": False}
ALLOWED = (
    "parameters, numbers, 'texts', true, false, + - * / // % **, comparisons, in [...], and, or, "
    "not, min(…), max(…), log(…)"
)


@dataclass(frozen=True)
class Rule:
    """One condition over parameters.

    Raises:
        ValueError: the text is no condition of the allowed kind.
    """

    text: str

    def __post_init__(self) -> None:
        try:
            _check(self.tree)
        except RecursionError as error:
            raise ValueError(f"not a rule, got {self.text!r} (too deeply nested)") from error
        if not is_condition(self.tree):
            raise ValueError(
                f"must be a condition such as 'lora.alpha >= lora.rank', got {self.text!r}"
            )

    @cached_property
    def tree(self) -> ast.expr:
        """The expression."""
        return parsed(self.text).body

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The parameters that the rule reads, in the order in which they appear."""
        return tuple(dict.fromkeys(_names(self.tree)))


def _rule_text(text: str) -> str:
    return Rule(text).text


RuleText = Annotated[str, AfterValidator(_rule_text)]


def name_of(node: ast.expr) -> str | None:
    """Return the parameter that a node names, or None."""
    match node:
        case ast.Name(id=name) if name not in WORDS:
            return name
        case ast.Attribute(value=ast.Name(id=prefix), attr=field):
            return f"{prefix}.{field}"
    return None


def is_condition(node: ast.expr) -> bool:
    """Return whether a node is true or false, as far as its form tells; a name may be."""
    match node:
        case ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
            return True
        case ast.Name(id=name) if name in WORDS:
            return True
    return name_of(node) is not None


def _names(node: ast.expr) -> list[str]:
    name = name_of(node)
    if name is not None:
        return [name]
    parts = node.args if isinstance(node, ast.Call) else ast.iter_child_nodes(node)
    return [name for part in parts if isinstance(part, ast.expr) for name in _names(part)]


def _check(node: ast.expr) -> None:
    """Raise ValueError for a node that rules do not have."""
    match node:
        case ast.Constant(value=bool()):
            pass
        case ast.Constant(value=int() | float() as number) if number <= sys.float_info.max:
            return
        case ast.Constant(value=str()):
            return
        case _ if name_of(node) is not None or (is_condition(node) and isinstance(node, ast.Name)):
            return
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Not(), operand=operand):
            return _check(operand)
        case ast.BinOp(left=left, op=op, right=right) if isinstance(op, ARITHMETIC):
            return _check_all([left, right])
        case ast.BoolOp(values=values):
            return _check_all(values)
        case ast.Compare(left=left, ops=[ast.In() | ast.NotIn()], comparators=[right]):
            if isinstance(right, ast.List | ast.Tuple) and right.elts:
                return _check_all([left, *right.elts])
        case ast.Compare(left=left, ops=ops, comparators=rights):
            if all(isinstance(op, (*ORDER, *EQUALITY)) for op in ops):
                return _check_all([left, *rights])
        case ast.Call(func=ast.Name(id=name), args=[_, *_] as args, keywords=[]):
            if name in FUNCTIONS and (name != "log" or len(args) == 1):
                return _check_all(args)
    raise ValueError(f"allowed are {ALLOWED}, got {ast.unparse(node)!r}")


def _check_all(nodes: list[ast.expr]) -> None:
    for node in nodes:
        _check(node)
