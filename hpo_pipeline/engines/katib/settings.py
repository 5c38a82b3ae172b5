"""Our search and stopping sections as settings of Katib, which are texts, and back.

Writer and reader stand together. What Katib's specification has no place for travels here too:
the seed, several objectives, constraints, conditions, rules, configurations to begin with.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from hpo_pipeline.experiment.conditions import is_comparison
from hpo_pipeline.experiment.rules.rule import RuleText
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.space import ChoiceParameter, Space, Value, render
from hpo_pipeline.experiment.stopping import StockStopping, Stopping, StoppingSection
from hpo_pipeline.results.trial import Trial, TrialState

OBJECTIVES, CONSTRAINTS, CONDITIONS = "objectives", "constraints", "conditions"
START, EARLIER, SEED, PRIOR = "start", "earlier", "seed", "prior"
VALUES, RULES, FIXED = "values", "rules", "fixed"
Texts = dict[str, str]


class Travelling(BaseModel):
    """What Katib's specification has no place for, as it was read from the settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    objectives: list[dict[str, Any]] = []
    constraints: list[str] = []
    conditions: dict[str, dict[str, list[str]]] = {}
    start: list[Texts] = []
    prior: Texts = {}
    earlier: list[tuple[Texts, dict[str, float]]] = []
    seed: int = 0
    values: dict[str, list[bool | int | float | str]] = {}
    rules: list[RuleText] = []
    fixed: dict[str, bool | int | float | str] = {}


_STOPPING: TypeAdapter[Stopping] = TypeAdapter(StoppingSection)


def search_settings(experiment: Experiment, earlier: Sequence[Trial] = ()) -> dict[str, str]:
    """Return the settings of the algorithm of an experiment; what is as by default is left out."""
    search, space = experiment.problem.search, experiment.space
    own = search.settings if isinstance(search.settings, dict) else _given(search.settings)
    found: dict[str, Any] = dict(own)
    if search.service is None:
        return {name: _text(value) for name, value in found.items()}
    found[SEED] = search.seed
    conditions = {
        name: {other: list(map(render, values)) for other, values in space[name].when.items()}
        for name in space
        if space[name].when
    }
    start = [{n: render(v) for n, v in point.items()} for point in search.start]
    known = [
        [{n: render(v) for n, v in t.assignments.items() if n in space}, t.metrics] for t in earlier
    ]
    objectives = [o.model_dump(exclude_none=True) for o in experiment.objective]
    is_plain = len(objectives) == 1 and experiment.objective[0].score is None
    found |= {OBJECTIVES: [] if is_plain else objectives, CONSTRAINTS: experiment.constraints}
    found |= {CONDITIONS: conditions, START: start, EARLIER: known}
    found |= {PRIOR: {name: render(value) for name, value in search.prior.items()}}
    rules = experiment.problem.rules
    found |= {VALUES: _compared_values(experiment), RULES: rules.texts, FIXED: dict(rules.fixed)}
    return {n: _text(v) for n, v in found.items() if v not in ((), [], {}, None)}


def read_search(settings: Mapping[str, str]) -> tuple[dict[str, Any], Travelling]:
    """Return the algorithm's own settings as values, and the travelling ones.

    Raises:
        ValueError: a setting is of the wrong kind, or nested too deep.
    """
    values = {name: _value(name, text) for name, text in settings.items()}
    travelling = {n: values.pop(n) for n in Travelling.model_fields if n in values}
    try:
        return values, Travelling.model_validate(travelling)
    except ValidationError as error:
        listed = (
            f"settings.{'.'.join(map(str, fault['loc']))}: {fault['msg']}, "
            f"got {str(fault['input'])[:100]!r}"
            for fault in error.errors()
        )
        raise ValueError("; ".join(listed)) from error


def earlier_trials(known: Sequence[tuple[Texts, Mapping[str, float]]], space: Space) -> list[Trial]:
    """Return the trials of other searches that `search_settings` wrote and the space can read."""
    found = []
    for i, (texts, metrics) in enumerate(known):
        with contextlib.suppress(ValueError):  # a choice that is no more
            values = space.parse(texts)
            found.append(Trial(f"earlier-{i}", i, TrialState.SUCCEEDED, values, dict(metrics)))
    return found


def stopping_settings(experiment: Experiment) -> dict[str, str]:
    """Return the settings of the stopping rule of an experiment."""
    rule = experiment.chosen_stopping
    if isinstance(rule, StockStopping):
        return {name: _text(value) for name, value in rule.settings.items()}
    found = rule.model_dump(exclude={"algorithm"}, exclude_none=True)
    return {name: _text(value) for name, value in found.items()}


def read_stopping(algorithm: str, settings: Mapping[str, str]) -> Stopping:
    """Return the stopping section that `stopping_settings` wrote.

    Raises:
        pydantic.ValidationError: there is no such rule, or it takes no such settings.
    """
    values = {name: _value(name, text) for name, text in settings.items()}
    return _STOPPING.validate_python({**values, "algorithm": algorithm})


def _compared_values(experiment: Experiment) -> dict[str, list[Value]]:
    """Return the values of choices that are compared; Katib itself knows their texts only."""
    space = experiment.space
    compared = {
        other
        for name in space
        for other, conditions in space[name].when.items()
        if any(map(is_comparison, conditions))
    }
    compared |= {name for rule in experiment.problem.rules.each for name in rule.names}
    found: dict[str, list[Value]] = {}
    for name in space:
        parameter = space[name]
        if isinstance(parameter, ChoiceParameter) and name in compared:
            found[name] = list(parameter.values)
    return found


def _given(settings: Any) -> dict[str, Any]:
    found: dict[str, Any] = settings.model_dump(exclude_none=True, exclude_defaults=True)
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _value(name: str, text: str) -> Any:
    """Return what a text says as JSON, or the text where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return text
    except RecursionError:
        raise ValueError(f"settings.{name}: is nested too deep") from None
