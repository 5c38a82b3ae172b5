"""Keras Tuner's spaces: the hyperparameters that a model's build function has declared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo_pipeline.spaces.imported import Collector, Imported


def from_keras_tuner(hyperparameters: Any, *, names: Mapping[str, str] | None = None) -> Imported:
    """Return the HyperParameters of Keras Tuner as a space of ours.

    Args:
        hyperparameters: after the build function was called with it, or that of a tuner
            (`tuner.oracle.hyperparameters`).
        names: of parameters, where they are others here: `{"lr": "learning_rate"}`.
    """
    collector = Collector("the space of Keras Tuner", names)
    for found in hyperparameters.space:
        when = {
            collector.name(parent.name): list(parent.values)
            if len(parent.values) > 1
            else parent.values[0]
            for parent in getattr(found, "conditions", None) or ()
        }
        _add(collector, found, when)
    return collector.imported()


def _add(collector: Collector, found: Any, when: Mapping[str, Any]) -> None:
    kind, name = type(found).__name__, found.name
    if kind == "Fixed":
        collector.fix(name, found.value)
    elif kind == "Boolean":
        collector.choice(name, [True, False], when)
    elif kind == "Choice":
        collector.choice(name, found.values, when)
    elif kind in ("Int", "Float"):
        sampling, step = found.sampling or "linear", found.step
        if sampling == "reverse_log":
            collector.lose(
                name,
                "is denser towards its high end (reverse_log)",
                "search 1 minus it, or its distance to the end, with log: true",
            )
            return
        is_log = sampling == "log"
        if is_log and step is not None and step != 1:
            values, value = [], found.min_value
            while value <= found.max_value:
                values.append(value)
                value *= step
            collector.note(f"{name}: its steps are factors of {step}, so it is a choice of them")
            collector.choice(name, values, when)
            return
        add = collector.integer if kind == "Int" else collector.real
        steps = {"step": step} if step else {}
        add(name, found.min_value, found.max_value, log=is_log, when=when, **steps)
    else:
        collector.lose(name, f"{kind} is not known", "write a range or a choice")
