"""The section `baseline`: the configuration that tuning has to beat, tried before all others.

What the file fixes counts first, then the values that the section gives, then the defaults of
transformers. It is a configuration of the space: a default that the space does not contain moves
to the nearest value that it does, and the report says so. Nothing is read here: what a model's
config has comes from the caller (jobs/baseline.py).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator

from hpo_pipeline.experiment.configuration import outside
from hpo_pipeline.experiment.rules import NO_RULES, Rules, known_values
from hpo_pipeline.experiment.rules.region import region_of
from hpo_pipeline.experiment.space import ChoiceParameter, PlainValue, Space, Value
from hpo_pipeline.tasks import TASKS

if TYPE_CHECKING:
    from hpo_pipeline.experiment.algorithms.base import AnySearch
    from hpo_pipeline.experiment.serve import Serve
    from hpo_pipeline.experiment.task import Task

DEFAULT, NONE = "default", "none"
NOT_WANTED = "the experiment wants none"
ALIKE = 0.7
"""How alike two texts must be, as difflib counts it, for one to be near the other."""


def _form(given: Any) -> Any:
    is_mapping = isinstance(given, dict) and given
    if given not in (DEFAULT, NONE) and not is_mapping:
        raise ValueError(
            f"must be {DEFAULT}, {NONE}, or values of parameters such as {{learning_rate: 5.0e-5}}"
        )
    for name, value in given.items() if is_mapping else ():
        if not isinstance(value, bool | int | float | str):
            raise ValueError(f"{name}: must be true, false, a number or text, got {value!r}")
    return given


Given = Literal["default", "none"] | dict[str, PlainValue]
BaselineSection = Annotated[Given, BeforeValidator(_form, json_schema_input_type=Given)]


@dataclass(frozen=True)
class Baseline:
    """The configuration of the baseline, without parameters whose conditions do not hold.

    `values` is None where there is no baseline, and then `notes` says why; else they say which
    defaults the space does not contain.
    """

    values: dict[str, Value] | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Setting:
    """What the baseline of an experiment follows from; `trials` is the budget."""

    space: Space
    task: Task
    search: AnySearch
    serve: Serve | None = None
    rules: Rules = NO_RULES
    trials: int = 2


def baseline_of(
    given: Given, setting: Setting, defaults: Mapping[str, Value] | None = None
) -> Baseline:
    """Return the baseline of an experiment.

    Args:
        given: the section; its values are in the space (`baseline_faults`).
        defaults: what the config of the base model has, by names of the space.
    """
    if given == NONE:
        return Baseline(None, (NOT_WANTED,))
    if why := _unserved(setting.search):
        return Baseline(None, (why,))
    wanted = given if isinstance(given, dict) else {}
    if not wanted and setting.trials < 2:
        return Baseline(None, ("the only trial of the budget is the search's",))
    known = {} if TASKS[setting.task.kind].is_own_code else _known(setting, defaults or {})
    values: dict[str, Value] = {}
    notes = []
    for name in setting.space:
        if not setting.space.holds(name, values):
            continue
        if name in wanted:
            values[name] = wanted[name]
        elif name in known:
            values[name], note = _nearest(setting.space, name, known[name])
            notes += [note] if note else []
        else:
            return Baseline(None, (f"{name} has no known default; name its value in baseline",))
    return _kept(setting, values, wanted, notes)


def baseline_faults(given: Given, setting: Setting) -> list[str]:
    """Return what is wrong with values that the section gives."""
    if not isinstance(given, dict):
        return []
    if why := _unserved(setting.search):
        return [f"baseline: {why}; leave it out"]
    space = setting.space
    if faults := outside(space, given, "baseline"):
        return faults
    if TASKS[setting.task.kind].is_own_code:
        filled = {name: given.get(name, space[name].point(0)) for name in space}
        missing = [name for name in space.active(filled) if name not in given]
        if missing:
            return [
                f"baseline: {', '.join(missing)} missing; what your own code takes by default is "
                f"not known here, so give every parameter"
            ]
    values = {n: v for n, v in given.items() if n in space.active(given)}
    if setting.rules and values.keys() == space.active(_filled(space, values)).keys():
        broken = region_of(space, setting.rules).broken(values)
        return [f"baseline: breaks the rule {text!r}" for text in broken]
    found = baseline_of(given, setting)
    if found.values is None and setting.rules and _NO_ROOM in found.notes:
        return [f"baseline: {_NO_ROOM}"]
    return []


_NO_ROOM = "no configuration with these values keeps space_rules"


def _unserved(search: AnySearch) -> str | None:
    if search.population_size is not None:
        return f"the configurations of {search.algorithm} change while they train: no baseline"
    if search.service is None:
        return "Katib's own algorithms propose every trial themselves: no baseline"
    return None


def _known(setting: Setting, defaults: Mapping[str, Value]) -> dict[str, Value]:
    return {**defaults, **known_values(setting.task, setting.serve)}


def _nearest(space: Space, name: str, default: Value) -> tuple[Value, str]:
    """Return the value of a parameter that is nearest to a default, and a note where it differs."""
    parameter = space[name]
    if isinstance(parameter, ChoiceParameter):
        found = _nearest_choice(parameter, default)
    elif isinstance(default, bool | str):
        found = parameter.point(0)
    elif parameter.step is None:
        found = min(max(float(default), parameter.low), parameter.high)
    else:
        count = parameter.count()
        assert count is not None
        place = round((default - parameter.low) / parameter.step)
        found = parameter.point(min(max(place, 0), count - 1))
    if found == default:
        return found, ""
    return found, (
        f"{name} is {found!r}, as the space does not have the default {default!r}"
        if not isinstance(found, str)
        else f"{name} is {found}, as the space does not have the default {default}"
    )


def _nearest_choice(parameter: ChoiceParameter, default: Value) -> Value:
    """Return the nearest number, the text that is most alike, or the first value."""
    if isinstance(default, bool) or default in parameter.values:
        alike = [v for v in parameter.values if v == default]
        same = [v for v in alike if isinstance(v, bool) == isinstance(default, bool)]
        return (same or list(parameter.values))[0]
    if isinstance(default, str):
        texts = [v for v in parameter.values if isinstance(v, str)]
        near = difflib.get_close_matches(default, texts, n=1, cutoff=ALIKE)
        return near[0] if near else parameter.values[0]
    numbers = [v for v in parameter.values if isinstance(v, int | float)]
    numbers = [v for v in numbers if not isinstance(v, bool)]
    return min(numbers, key=lambda v: _distance(v, default)) if numbers else parameter.values[0]


def _distance(a: float, b: float) -> float:
    """Return how far two numbers are apart: in size where both have one, else by difference."""
    return abs(math.log(a / b)) if a > 0 and b > 0 else abs(a - b)


def _filled(space: Space, values: Mapping[str, Value]) -> dict[str, Value]:
    return {name: values.get(name, space[name].point(0)) for name in space}


def _kept(
    setting: Setting, values: dict[str, Value], wanted: Mapping[str, Value], notes: list[str]
) -> Baseline:
    """Return the baseline, moved to the nearest configuration that keeps the rules."""
    space, rules = setting.space, setting.rules
    if not rules or not region_of(space, rules).broken(values):
        return Baseline(values, tuple(notes))
    import numpy as np

    from hpo_pipeline.experiment.rules.nearest import nearest

    fixed = {name: value for name, value in wanted.items() if name in values}
    wish = _filled(space, values)
    moved = nearest(region_of(space, rules), wish, np.random.default_rng(0), fixed)
    if moved is None:
        return Baseline(None, (_NO_ROOM,))
    found = space.active(moved)
    changed = [n for n in found if found[n] != values.get(n)]
    listed = ", ".join(f"{n}={found[n]}" for n in changed)
    return Baseline(found, (*notes, f"space_rules moved the defaults to {listed}"))
