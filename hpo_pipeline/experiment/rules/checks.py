"""Whether rules can be kept: names, types, and whether any configuration keeps them all."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hpo_pipeline.experiment.rules import bound
from hpo_pipeline.experiment.rules.drawing import MAX_DRAWS, several
from hpo_pipeline.experiment.rules.region import Region
from hpo_pipeline.experiment.rules.rule import (
    ARITHMETIC,
    EQUALITY,
    ORDER,
    WORDS,
    Rule,
    name_of,
)
from hpo_pipeline.experiment.space import ChoiceParameter, Space, Value

Kind = Literal["a number", "a text", "true or false", "a text or a number"]
_DRAWS = 20_000
_NUMBER: Kind = "a number"
_TEXT: Kind = "a text"
_BOOL: Kind = "true or false"
_MIXED: Kind = "a text or a number"


@dataclass(frozen=True)
class _Names:
    """What a rule may read: the space, and the values that nothing varies."""

    space: Space
    known: Mapping[str, Value]

    def kind(self, name: str) -> Kind:
        if name not in self.space:
            return _kind_of([self.known[name]])
        parameter = self.space[name]
        if isinstance(parameter, ChoiceParameter):
            return _kind_of(parameter.values)
        return _NUMBER

    def values(self, name: str) -> tuple[Value, ...] | None:
        """Return the values of a parameter where there is a list of them."""
        if name not in self.space:
            return None
        parameter = self.space[name]
        return parameter.values if isinstance(parameter, ChoiceParameter) else None


def _kind_of(values: Sequence[Value]) -> Kind:
    if all(isinstance(value, bool) for value in values):
        return _BOOL
    texts = [isinstance(value, str) for value in values]
    if not any(texts):
        return _NUMBER
    return _TEXT if all(texts) else _MIXED


def rule_faults(
    texts: Sequence[str], space: Space, known: Mapping[str, Value], *, is_whole: bool = True
) -> list[str]:
    """Return what is wrong with rules, for a valid space.

    Args:
        known: the values of parameters that nothing varies.
        is_whole: whether `known` has all of them; without, only what it has is checked.
    """
    if not texts:
        return []
    names = _Names(space, known)
    faults = []
    for i, text in enumerate(texts):
        where, rule = f"space_rules.{i}", Rule(text)
        unknown = [n for n in rule.names if n not in space and n not in known]
        if unknown and is_whole:
            faults += [f"{where}: {_unknown(n, space)}, in {text!r}" for n in unknown]
        if unknown:
            continue
        try:
            if _kind(rule.tree, names) != _BOOL:
                faults.append(f"{where}: must be a condition, got {text!r}")
        except ValueError as error:
            faults.append(f"{where}: {error}, in {text!r}")
    return faults or (_unsatisfied(texts, space, known) if is_whole else [])


def rule_notes(texts: Sequence[str], space: Space, known: Mapping[str, Value]) -> list[str]:
    """Return a sentence for each rule that nothing can break."""
    found = []
    for i, text in enumerate(texts):
        region = Region(space, bound([text], space, known))
        if _never_broken(region, Rule(text)):
            found.append(f"space_rules.{i}: no configuration breaks {text!r}; it has no effect")
    return found


def _unknown(name: str, space: Space) -> str:
    prefix, _, field = name.rpartition(".")
    places = {"": "training", "model": "config"}
    mend = f"search it, or write {field} into task.{places.get(prefix, prefix)}"
    if prefix == "task":
        mend = "the task has no such field with a single value"
    return f"{name} is neither in the space ({', '.join(space)}) nor fixed; {mend}"


def _unsatisfied(texts: Sequence[str], space: Space, known: Mapping[str, Value]) -> list[str]:
    """Return which rules no configuration keeps, alone or together."""
    if (fault := _unkept(texts, space, known)) is None:
        return []
    for i, text in enumerate(texts):
        alone = _unkept([text], space, known)
        if alone is not None:
            values = _values(text, space, known)
            return [f"space_rules.{i}: {alone} {text!r}{values}; relax it, or widen the space"]
    listed = " and ".join(repr(text) for text in texts)
    return [f"space_rules: {fault} all of {listed}; relax one of them, or widen the space"]


def _unkept(texts: Sequence[str], space: Space, known: Mapping[str, Value]) -> str | None:
    import numpy as np

    region = Region(space, bound(texts, space, known))
    rows = several(region, np.random.default_rng(0), 1)
    # A rule that reads nothing searched is in no group: no draw looks at it.
    if rows is not None and region.mask(rows).all():
        return None
    if rows is not None or all(region.listed(group) is not None for group in region.groups):
        return "no configuration keeps"
    return f"none of {MAX_DRAWS:,} configurations that were drawn keeps"


def _values(text: str, space: Space, known: Mapping[str, Value]) -> str:
    """Say which values the parameters of a rule have."""
    said = []
    for name in Rule(text).names:
        if name not in space:
            said.append(f"{name} is {known[name]}")
            continue
        parameter = space[name]
        if isinstance(parameter, ChoiceParameter):
            said.append(f"{name} is one of {', '.join(map(str, parameter.values))}")
        else:
            said.append(f"{name} is {parameter.low:g} to {parameter.high:g}")
    return f" ({'; '.join(said)})" if said else ""


def _never_broken(region: Region, rule: Rule) -> bool:
    """Return whether no configuration breaks a rule: of all, or of many drawn and the corners."""
    import numpy as np

    rng = np.random.default_rng(0)
    # Without the rule, so that nothing is filtered.
    everything = Region(region.space, bound([], region.space, {}))
    rows = several(everything, rng, _DRAWS)
    assert rows is not None
    corners = {
        name: axis.places(rng.integers(0, 2, _DRAWS).astype(float))
        for name, axis in region.axes.items()
    }
    if region.breaks(rule, rows) or region.breaks(rule, corners):
        return False
    read = [name for name in rule.names if name in region.space]
    counts = [region.axes[name].count for name in read]
    group = next((g for g in region.groups if set(read) <= set(g)), None)
    listed = region.listed(group) if group else None
    has_when = group is not None and any(region.space[name].when for name in group)
    if listed is None or has_when or group is None:
        return True
    total = 1
    for name in group:
        total *= region.axes[name].count or 1
    return all(counts) and len(listed[group[0]]) == total


def _kind(node: ast.expr, names: _Names) -> Kind:
    """Return the kind of an expression.

    Raises:
        ValueError: it takes another kind than it is given.
    """
    name = name_of(node)
    if name is not None:
        return names.kind(name)
    match node:
        case ast.Constant(value=str()):
            return _TEXT
        case ast.Constant():
            return _NUMBER
        case ast.Name(id=word) if word in WORDS:
            return _BOOL
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return _all_of(_BOOL, [operand], names, "not")
        case ast.UnaryOp(operand=operand):
            return _all_of(_NUMBER, [operand], names, "-")
        case ast.BoolOp(op=op, values=values):
            return _all_of(_BOOL, values, names, "and" if isinstance(op, ast.And) else "or")
        case ast.BinOp(left=left, right=right, op=op) if isinstance(op, ARITHMETIC):
            return _all_of(_NUMBER, [left, right], names, ast.unparse(node))
        case ast.Call(func=ast.Name(id=function), args=args):
            return _all_of(_NUMBER, args, names, function)
        case ast.Compare(left=left, ops=ops, comparators=rights):
            sides = [left, *rights]
            for i, sign in enumerate(ops):
                _check_comparison(sides[i], sign, sides[i + 1], names)
            return _BOOL
    raise AssertionError("unreachable: a rule has no other node")


def _all_of(kind: Kind, nodes: Sequence[ast.expr], names: _Names, what: str) -> Kind:
    for node in nodes:
        found = _kind(node, names)
        if found != kind:
            raise ValueError(f"{what} takes {kind}, and {ast.unparse(node)} is {found}")
    return kind


def _check_comparison(left: ast.expr, op: ast.cmpop, right: ast.expr, names: _Names) -> None:
    if isinstance(op, ORDER):
        _all_of(_NUMBER, [left, right], names, "an order")
        return
    members = right.elts if isinstance(right, ast.List | ast.Tuple) else [right]
    assert isinstance(op, (*EQUALITY, ast.In, ast.NotIn))
    for member in members:
        kinds = {_kind(left, names), _kind(member, names)}
        if len(kinds) > 1 and not (_MIXED in kinds and _BOOL not in kinds):
            raise ValueError(
                f"{ast.unparse(left)} is {_kind(left, names)}, and {ast.unparse(member)} is "
                f"{_kind(member, names)}"
            )
        for one, other in ((left, member), (member, left)):
            _check_member(one, other, names)


def _check_member(node: ast.expr, other: ast.expr, names: _Names) -> None:
    """Refuse a text that a parameter is compared with and that is none of its values."""
    name = name_of(node)
    values = None if name is None else names.values(name)
    if values is None or not isinstance(other, ast.Constant) or not isinstance(other.value, str):
        return
    if other.value not in values:
        listed = ", ".join(map(str, values))
        raise ValueError(f"{other.value!r} is none of the values of {name} ({listed})")
