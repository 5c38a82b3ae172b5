"""A configuration that a person writes down: read, and checked against space and rules."""

from __future__ import annotations

from collections.abc import Mapping

from hpo_pipeline.experiment.algorithms.base import Problem
from hpo_pipeline.experiment.space import (
    ChoiceParameter,
    FloatParameter,
    IntParameter,
    Space,
    Value,
    render,
)


def read_configuration(problem: Problem, texts: Mapping[str, str]) -> dict[str, Value]:
    """Return the values of a configuration; those whose conditions do not hold are left out.

    Args:
        texts: each value as a person wrote it; an empty text is none.

    Raises:
        ValueError: with all that is wrong, and what is allowed.
    """
    space = problem.space
    given = {name: text.strip() for name, text in texts.items() if text.strip()}
    unknown = [name for name in given if name not in space]
    faults = [f"{name}: not in the space ({', '.join(space)})" for name in unknown]
    values: dict[str, Value] = {}
    for name in space:
        value = _value(space[name], given[name]) if name in given else None
        if value is not None:
            values[name] = value
        elif name in given:
            faults.append(f"{name}: must be {allowed(space[name])}, got {given[name]:.80}")
    if faults:
        raise ValueError("; ".join(faults))
    active = _active(space, values)
    broken = problem.broken(active)
    if broken:
        raise ValueError("; ".join(f"it breaks the rule {text!r}" for text in broken))
    return active


def allowed(parameter: FloatParameter | IntParameter | ChoiceParameter) -> str:
    """Say which values a parameter may have."""
    if isinstance(parameter, ChoiceParameter):
        texts = [render(value) for value in parameter.values]
        return f"one of {', '.join(texts)}" if len(texts) > 1 else texts[0]
    kind = "a whole number" if isinstance(parameter, IntParameter) else "a number"
    every = None if parameter.type == "int" and parameter.step == 1 else parameter.step
    step = f" in steps of {every:g}" if every is not None else ""
    return f"{kind} from {render(parameter.low)} to {render(parameter.high)}{step}"


def outside(space: Space, given: Mapping[str, Value], where: str) -> list[str]:
    """Return which values of a section of the file the space does not have.

    Args:
        where: the section, such as `search.start.0`.
    """
    unknown = [
        f"{where}.{name}: not in the space ({', '.join(space)}); a value that no trial varies "
        f"belongs into the task"
        for name in given
        if name not in space
    ]
    return unknown + [
        f"{where}.{name}: must be {allowed(space[name])}, as in the space, got {value!r}"
        for name, value in given.items()
        if name in space and not space[name].contains(value)
    ]


def conditions(parameter: FloatParameter | IntParameter | ChoiceParameter) -> str:
    """Say under which conditions a parameter counts; nothing where it always does."""
    return " and ".join(
        f"{name} is {' or '.join(render(value) for value in values)}"
        for name, values in parameter.when.items()
    )


def _value(parameter: FloatParameter | IntParameter | ChoiceParameter, text: str) -> Value | None:
    """Return a value of a parameter, or None where the text is none."""
    try:
        value = parameter.parse(text)
    except ValueError:
        return None
    return value if parameter.contains(value) else None


def _active(space: Space, values: Mapping[str, Value]) -> dict[str, Value]:
    """Return the values that count.

    Raises:
        ValueError: one that counts is missing.
    """
    active: dict[str, Value] = {}
    for name in space:
        if not space.holds(name, active):
            continue
        if name not in values:
            raise ValueError(f"{name} is missing: it must be {allowed(space[name])}")
        active[name] = values[name]
    return active
