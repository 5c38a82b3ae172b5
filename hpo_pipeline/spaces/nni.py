"""NNI's spaces: a mapping with the type and the values of each parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo_pipeline.spaces.imported import Collector, Imported

_TYPE, _VALUE, _NAME = "_type", "_value", "_name"


def from_nni(space: Mapping[str, Any], *, names: Mapping[str, str] | None = None) -> Imported:
    """Return a search space of NNI as one of ours, nested choices with their conditions.

    Args:
        names: of parameters, where they are others here: `{"lr": "learning_rate"}`.
    """
    collector = Collector("the space of NNI", names)
    for name, entry in space.items():
        _add(collector, name, entry, {})
    return collector.imported()


def _add(collector: Collector, name: str, entry: Any, when: dict[str, Any]) -> None:
    if not isinstance(entry, Mapping) or _TYPE not in entry:
        collector.lose(name, f"has no {_TYPE}", f'write {{"{_TYPE}": "choice", "{_VALUE}": [...]}}')
        return
    kind, value = str(entry[_TYPE]), entry.get(_VALUE, [])
    if kind == "choice":
        _choice(collector, name, value, when)
    elif kind == "randint":
        low, high = (0, value[0]) if len(value) == 1 else value
        collector.integer(name, low, high - 1, when=when)
    elif kind in ("uniform", "quniform", "loguniform", "qloguniform"):
        step = value[2] if kind.startswith("q") else None
        collector.real(name, value[0], value[1], step=step, log="log" in kind, when=when)
    elif kind in ("normal", "qnormal", "lognormal", "qlognormal"):
        collector.normal(name, value[0], value[1], of_log="log" in kind)
    else:
        collector.lose(name, f"the type {kind} is not known", "write a range or a choice")


def _choice(collector: Collector, name: str, options: Any, when: dict[str, Any]) -> None:
    nested = [option for option in options if isinstance(option, Mapping)]
    if any(not _is_nested(option) for option in nested):
        instead = f"give each a {_NAME}, choose among the names, and look it up in your code"
        collector.lose(name, "an option is a mapping of values", instead)
        return
    values = [o.get(_NAME, i) if isinstance(o, Mapping) else o for i, o in enumerate(options)]
    collector.choice(name, values, when)
    for value, option in zip(values, options, strict=True):
        if isinstance(option, Mapping):
            below = {**when, collector.name(name): value}
            for key, entry in option.items():
                if key != _NAME:
                    _add(collector, f"{name}_{value}_{key}", entry, below)
                    collector.note(f"{key} below {value} of {name} is called {name}_{value}_{key}")


def _is_nested(option: Mapping[str, Any]) -> bool:
    """Return whether an option is a space of its own."""
    return all(isinstance(v, Mapping) and _TYPE in v for k, v in option.items() if k != _NAME)
