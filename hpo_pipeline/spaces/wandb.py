"""W&B's sweeps: the section `parameters`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hpo_pipeline.spaces.imported import Collector, Imported, flat

_NESTED = "parameters"


def from_wandb(space: Mapping[str, Any], *, names: Mapping[str, str] | None = None) -> Imported:
    """Return the parameters of a sweep as a space of ours; nested names are joined by `_`.

    Args:
        names: of parameters, where they are others here: `{"lr": "learning_rate"}`.
    """
    collector = Collector("the parameters of the sweep", names)
    for name, entry in flat(_unnested(space), lambda value: not _is_group(value)).items():
        _add(collector, name, entry)
    return collector.imported()


class _Group(dict[str, Any]):
    """Parameters that a sweep has put into a group."""


def _is_group(value: Any) -> bool:
    return isinstance(value, _Group)


def _unnested(space: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _Group(_unnested(entry[_NESTED]))
        if isinstance(entry, Mapping) and isinstance(entry.get(_NESTED), Mapping)
        else entry
        for name, entry in space.items()
    }


def _add(collector: Collector, name: str, entry: Any) -> None:
    if not isinstance(entry, Mapping):
        collector.lose(name, f"is {entry!r:.40}", "write `value:`, `values:`, or `min:` and `max:`")
        return
    if "value" in entry:
        collector.choice(name, [entry["value"]])
        return
    if "values" in entry:
        if entry.get("probabilities"):
            collector.note(f"{name}: its values had probabilities, and are equally likely here")
        collector.choice(name, entry["values"])
        return
    _drawn(collector, name, entry)


def _drawn(collector: Collector, name: str, entry: Mapping[str, Any]) -> None:
    low, high, step = entry.get("min"), entry.get("max"), entry.get("q")
    kind = str(entry.get("distribution", "") or _usual(low, high))
    if kind in ("normal", "q_normal", "log_normal", "q_log_normal"):
        spread = float(entry.get("mu", 0)), float(entry.get("sigma", 1))
        collector.normal(name, *spread, of_log="log" in kind)
        return
    if low is None or high is None:
        collector.lose(name, f"{kind or 'a distribution'} without min and max", "write both")
        return
    low, high = float(low), float(high)
    if kind == "int_uniform":
        collector.integer(name, low, high)
    elif kind in ("uniform", "q_uniform"):
        collector.real(name, low, high, step=_step(kind, step))
    elif kind in ("log_uniform", "q_log_uniform"):
        low, high = math.exp(low), math.exp(high)  # they are exponents there
        collector.real(name, low, high, step=_step(kind, step), log=True)
    elif kind in ("log_uniform_values", "q_log_uniform_values"):
        collector.real(name, low, high, step=_step(kind, step), log=True)
    else:
        instead = "write {type: float, low: …, high: …}, with log: true where small values matter"
        collector.lose(name, f"the distribution {kind} has no counterpart", instead)


def _step(kind: str, step: Any) -> float | None:
    """Return the step of a distribution: 1 by default where it has one."""
    return float(step or 1) if kind.startswith("q_") else None


def _usual(low: Any, high: Any) -> str:
    """Return the distribution that a sweep takes where none is named."""
    if low is None or high is None:
        return ""
    return "int_uniform" if isinstance(low, int) and isinstance(high, int) else "uniform"
