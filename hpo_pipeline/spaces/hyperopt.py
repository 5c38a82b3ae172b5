"""Hyperopt's spaces: graphs of pyll, of which names, arguments and literals are read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hpo_pipeline.spaces.imported import Collector, Imported, is_sequence

_LABEL = "hyperopt_param"
_CASTS = ("float", "int")


def from_hyperopt(space: Any, *, names: Mapping[str, str] | None = None) -> Imported:
    """Return a space of Hyperopt (hp.uniform, hp.choice, …) as one of ours.

    A parameter has the name of its label. What is below an option of `hp.choice` counts only where
    that option is chosen; an option that is a mapping has the name in its only text, or its number.

    Args:
        names: of parameters, where they are others here: `{"lr": "learning_rate"}`.
    """
    collector = Collector("the space of Hyperopt", names)
    _walk(collector, space, "", {})
    return collector.imported()


def _walk(collector: Collector, node: Any, name: str, when: dict[str, Any]) -> None:
    if isinstance(node, Mapping):
        for key, value in node.items():
            _walk(collector, value, str(key), when)
    elif is_sequence(node):
        for value in node:
            _walk(collector, value, name, when)
    elif not _is_node(node):
        _constant(collector, node, name, when)
    elif node.name == "switch":
        _choice(collector, node, when)
    elif node.name in ("dict", "pos_args"):
        for key, value in (*node.named_args, *((name, arg) for arg in node.pos_args)):
            _walk(collector, value, str(key), when)
    elif node.name in _CASTS:
        is_whole = node.name == "int"
        while node.name in _CASTS:
            node = node.pos_args[0]
        _draw(collector, node, when, is_whole=is_whole)
    elif node.name == _LABEL:
        _draw(collector, node, when, is_whole=True)
    elif node.name == "literal":
        _walk(collector, node.obj, name, when)
    else:
        collector.lose(
            _label(node) or name or node.name,
            f"is an expression ({node.name}), which is not computed here",
            "write the range of what it gives",
        )


def _constant(collector: Collector, value: Any, name: str, when: dict[str, Any]) -> None:
    """Say what always has one value, or has it where an option is chosen."""
    if not when and name:
        collector.choice(name, [value])
    elif value not in when.values():  # else it is what the option is called
        where = " and ".join(f"{key} is {option}" for key, option in when.items())
        collector.note(f"{name or 'a value'} is {value!r:.60} where {where}; your code has to know")


def _label(node: Any) -> str:
    """Return the label of the first parameter below a node."""
    if node.name == _LABEL:
        return str(node.pos_args[0].obj)
    return next((label for arg in node.pos_args if (label := _label(arg))), "")


def _draw(collector: Collector, node: Any, when: dict[str, Any], *, is_whole: bool) -> None:
    label = node.pos_args[0].obj
    draw = node.pos_args[1]
    given = dict(
        zip(_ARGUMENTS.get(draw.name, ()), (_value(a) for a in draw.pos_args), strict=False)
    )
    given |= {key: _value(value) for key, value in draw.named_args}
    kind = draw.name.removeprefix("q")
    if kind == "randint":
        low, high = given.get("low", 0), given.get("high")
        low, high = (0, low) if high is None else (low, high)
        collector.integer(label, low, high - 1, when=when)
    elif kind in ("uniform", "loguniform", "uniformint"):
        low, high = given["low"], given["high"]
        if kind == "loguniform":
            low, high = math.exp(low), math.exp(high)
        step, is_log = given.get("q"), kind == "loguniform"
        if is_whole and not is_log and step in (None, 1.0):
            collector.integer(label, low, high, when=when)
        else:
            collector.real(label, low, high, step=step, log=is_log, when=when)
    elif kind in ("normal", "lognormal"):
        collector.normal(label, given["mu"], given["sigma"], of_log=kind == "lognormal")
    else:
        collector.lose(label, f"{draw.name} is not known", "write a range or a choice")


_ARGUMENTS = {
    "randint": ("low", "high"),
    "uniform": ("low", "high"),
    "loguniform": ("low", "high"),
    "uniformint": ("low", "high", "q"),
    "quniform": ("low", "high", "q"),
    "qloguniform": ("low", "high", "q"),
    "normal": ("mu", "sigma"),
    "lognormal": ("mu", "sigma"),
    "qnormal": ("mu", "sigma", "q"),
    "qlognormal": ("mu", "sigma", "q"),
}


def _choice(collector: Collector, node: Any, when: dict[str, Any]) -> None:
    which, *options = node.pos_args
    label = which.pos_args[0].obj
    if which.pos_args[1].name != "randint":
        collector.note(f"{label}: its options had probabilities, and are all equally likely here")
    values = [_option(option, number) for number, option in enumerate(options)]
    collector.choice(label, values, when)
    for value, option in zip(values, options, strict=True):
        if not _is_literal(option):
            _walk(collector, option, "", {**when, collector.name(label): value})


def _option(option: Any, number: int) -> Any:
    """Return an option of a choice: its value, or of a mapping a name."""
    if _is_literal(option):
        return option.obj
    named = getattr(option, "named_args", ())
    texts = [v.obj for _, v in named if _is_literal(v) and isinstance(v.obj, str)]
    return texts[0] if texts else number


def _is_node(node: Any) -> bool:
    return hasattr(node, "pos_args") and hasattr(node, "named_args")


def _is_literal(node: Any) -> bool:
    return getattr(node, "name", "") == "literal"


def _value(node: Any) -> Any:
    return getattr(node, "obj", None)
