"""Katib's messages as our search problem and trials; the only translation between the two.

It serves experiments that `hpo render` wrote and those that a person wrote for Katib alike. What it
cannot serve it refuses with a ValueError that says why.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from hpo_pipeline.engines.katib.names import PREFIX
from hpo_pipeline.engines.katib.settings import earlier_trials, read_search
from hpo_pipeline.experiment.algorithms import ALGORITHMS
from hpo_pipeline.experiment.algorithms.base import Problem
from hpo_pipeline.experiment.checks.strategies import strategy_faults
from hpo_pipeline.experiment.conditions import is_comparison
from hpo_pipeline.experiment.formula import Constraint
from hpo_pipeline.experiment.rules import Rules
from hpo_pipeline.experiment.rules.checks import rule_faults
from hpo_pipeline.experiment.schema import Budget, ConstraintsSection, ObjectiveSection
from hpo_pipeline.experiment.search import SearchSection
from hpo_pipeline.experiment.space import ANY_NAMES, Frozen, Space, Value, render
from hpo_pipeline.results.trial import Point, Trial, TrialState
from hpo_pipeline.search.study import Known
from hpo_pipeline.trial.names import NO_PARENT, PARENT, trial_number
from hpo_pipeline.trial.wire import katib_pb2 as wire

Status = wire.TrialStatus
STATES = {
    Status.CREATED: TrialState.RUNNING,
    Status.RUNNING: TrialState.RUNNING,
    Status.SUCCEEDED: TrialState.SUCCEEDED,
    Status.EARLYSTOPPED: TrialState.STOPPED,
    Status.KILLED: TrialState.FAILED,
    Status.FAILED: TrialState.FAILED,
    Status.METRICSUNAVAILABLE: TrialState.FAILED,
    Status.UNKNOWN: TrialState.RUNNING,
}
_GOALS = {wire.MAXIMIZE: "maximize", wire.MINIMIZE: "minimize"}
_UNLIMITED = 100_000
Proposed = Callable[[int], Mapping[str, Value] | None]


class _Sections(Frozen):
    """What a search needs of an experiment."""

    space: Space
    objective: ObjectiveSection
    constraints: ConstraintsSection = ()
    search: SearchSection


def search_problem(message: wire.Experiment) -> tuple[Problem, list[Trial]]:
    """Return the search problem of a message, and the trials of other searches it brings along.

    Raises:
        ValueError: with all that is wrong with it.
    """
    spec, faults = message.spec, []
    algorithm = spec.algorithm.algorithm_name.removeprefix(PREFIX)
    given = {s.name: s.value for s in spec.algorithm.algorithm_settings}
    own, travelling = read_search(given)
    kind = ALGORITHMS.get(algorithm)
    if kind is not None and kind.is_choice:
        raise ValueError(f"{PREFIX}{algorithm} is resolved by `hpo render`; name an algorithm")
    has_population = kind is not None and kind.has_population
    space: dict[str, dict[str, Any]] = {}
    for parameter in spec.parameter_specs.parameters:
        if has_population and _is_parent(parameter):
            continue
        try:
            conditions = travelling.conditions.get(parameter.name, {})
            typed = {
                n: [_condition(space.get(n, {}), c) for c in conditions[n]] for n in conditions
            }
            space[parameter.name] = _parameter(parameter, typed, travelling.values)
        except ValueError as error:
            faults.append(f"parameters.{parameter.name}: {error}")
    if faults:
        raise ValueError("; ".join(faults))
    goal = _GOALS.get(spec.objective.type, "")
    single = {"metric": spec.objective.objective_metric_name, "goal": goal}
    content = {
        "space": space,
        "objective": travelling.objectives or [single],
        "constraints": travelling.constraints,
        "search": {"algorithm": algorithm, "seed": travelling.seed, "settings": own},
    }
    try:
        sections = _Sections.model_validate(content, context={ANY_NAMES: True})
        start = [sections.space.parse(point) for point in travelling.start]
        prior = sections.space.parse(travelling.prior)
    except ValidationError as error:
        raise ValueError(_faults(error)) from error
    search = sections.search.model_copy(update={"start": tuple(start), "prior": prior})
    problem = Problem(
        name=message.name,
        space=sections.space,
        objective=sections.objective,
        search=search,
        trials=spec.max_trial_count or _UNLIMITED,
        constraints=sections.constraints,
        rules=Rules(tuple(travelling.rules), tuple(travelling.fixed.items())),
    )
    wrong = _whole_faults(problem, spec)
    if wrong:
        raise ValueError("; ".join(wrong))
    return problem, earlier_trials(travelling.earlier, problem.space)


def _whole_faults(problem: Problem, spec: wire.ExperimentSpec) -> list[str]:
    """Return what is wrong between the parts of an experiment that are right by themselves."""
    budget = Budget.model_construct(
        trials=problem.trials, parallel=spec.parallel_trial_count or 1, target=None
    )
    named: dict[str, Any] = {
        "space": problem.space,
        "search": problem.search,
        "objective": problem.objective,
    }
    fixed = dict(problem.rules.fixed)
    wrong = rule_faults(problem.rules.texts, problem.space, fixed)
    if wrong:
        return wrong
    named |= {"rules": problem.rules}
    found = strategy_faults({**named, "constraints": problem.constraints, "budget": budget})
    reported = {spec.objective.objective_metric_name, *spec.objective.additional_metric_names}
    read = [o.reads for o in problem.objective]
    read += [Constraint(text).names for text in problem.constraints]
    unknown = sorted(frozenset().union(*read) - reported)
    if unknown:
        found.append(
            f"objectives and constraints read {', '.join(unknown)}, but the trials report only "
            f"{', '.join(sorted(reported))}; add it to additionalMetricNames"
        )
    size = problem.size() if problem.search.is_exhaustible else None
    if size is not None and spec.max_trial_count > size:
        found.append(f"maxTrialCount: the grid has only {size} points, got {spec.max_trial_count}")
    return found


def known_trials(
    problem: Problem,
    messages: Iterable[wire.Trial],
    *,
    proposed: Proposed = lambda number: None,
) -> dict[int, Known]:
    """Return the trials of a request by their numbers; those that are not ours are left out.

    Katib lists the trials of experiments of the same name in all namespaces together
    (kubeflow/katib#2578). A trial whose parameters are not those that were proposed under its
    number is one of another namespace. Where that is not known, as after a restart, the one that
    is further on counts.

    Args:
        proposed: returns the parameters that were proposed under a number, or None.
    """
    found: dict[int, tuple[Known, wire.Trial]] = {}
    for message in messages:
        number = trial_number(message.name)
        if number is None or not message.name.removeprefix(f"{problem.name}-").isdigit():
            continue
        known = Known(*_trial(problem, message, number))
        expected = proposed(number)
        if expected is not None and known.parameters != expected:
            continue
        other = found.get(number)
        if other is None or (known.trial.state.is_final and not other[0].trial.state.is_final):
            found[number] = (known, message)
    ends = {n: _time(m.status.completion_time) for n, (k, m) in found.items()}
    return {
        number: Known(known.trial, known.parameters, _ended_before(message, ends))
        for number, (known, message) in found.items()
    }


def _ended_before(message: wire.Trial, ends: Mapping[int, float]) -> frozenset[int]:
    start = _time(message.status.start_time)
    return frozenset(number for number, end in ends.items() if end <= start)


def _time(text: str) -> float:
    """Return seconds since 1970; infinite where there is no time, which Go writes as year 1."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return math.inf
    return when.timestamp() if when.year > 1 else math.inf


def _trial(problem: Problem, message: wire.Trial, number: int) -> tuple[Trial, dict[str, Value]]:
    texts = {a.name: a.value for a in message.spec.parameter_assignments.assignments}
    is_own = PARENT not in problem.space
    parent = trial_number(texts.pop(PARENT, NO_PARENT)) if is_own else None
    try:
        parameters = problem.space.parse(texts)
    except ValueError:
        parameters = {}
    metrics = {
        m.name: value
        for m in message.status.observation.metrics
        if (value := _number(m.value)) is not None
    }
    state = STATES[message.status.condition]
    # The one value that Katib keeps of a stopped trial replaces its curve.
    curve = (Point(1, 0, 0.0, metrics),) if state is TrialState.STOPPED and metrics else ()
    active = problem.space.active(parameters)
    trial = Trial(message.name, number, state, active, metrics, curve, parent=parent)
    return trial, parameters


def _number(text: str) -> float | None:
    """Return a finite number, or None: Katib gives an empty text for not a number."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _is_parent(message: wire.ParameterSpec) -> bool:
    """Return whether a parameter is the one in which `pbt` names the parent of a trial."""
    is_list = message.parameter_type == wire.CATEGORICAL
    return message.name == PARENT and is_list and list(message.feasible_space.list) == [NO_PARENT]


def _condition(other: Mapping[str, Any], text: str) -> Value:
    """Return a condition on a parameter: whole numbers are values of theirs, not texts."""
    if is_comparison(text) or other.get("type") == "choice":
        values = other.get("values", ())
        return next((v for v in values if render(v) == text), text)
    try:
        return int(text)
    except ValueError:
        return text


def _parameter(
    message: wire.ParameterSpec,
    conditions: Mapping[str, Any],
    typed: Mapping[str, list[Value]],
) -> dict[str, Any]:
    space = message.feasible_space
    if message.parameter_type in (wire.CATEGORICAL, wire.DISCRETE):
        # As texts, for the values are the trial's to read, but where they are compared.
        values: list[Value] = list(space.list)
        if message.name in typed:
            values = typed[message.name]
            if list(map(render, values)) != list(space.list):
                raise ValueError(f"settings.values names other values, got {values}")
        return {"type": "choice", "values": values, "when": conditions}
    if message.parameter_type not in (wire.INT, wire.DOUBLE):
        raise ValueError("parameterType must be double, int, discrete or categorical")
    if space.distribution in (wire.NORMAL, wire.LOG_NORMAL):
        raise ValueError("distribution must be uniform or logUniform; normal ones have no bounds")
    kind = "int" if message.parameter_type == wire.INT else "float"
    found = {
        "type": kind,
        "low": _bound("min", space.min, kind),
        "high": _bound("max", space.max, kind),
        "log": space.distribution == wire.LOG_UNIFORM,
        "when": conditions,
    }
    return found | ({"step": _bound("step", space.step, kind)} if space.step else {})


def _bound(name: str, text: str, kind: str) -> float:
    """Return a bound or step as a number; `5.0` and `1e2` are whole numbers too."""
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{name} must be a number, got {text!r}") from None
    if kind == "float":
        return value
    if not value.is_integer():
        raise ValueError(f"{name} of an int must be a whole number, got {text!r}")
    return int(text) if text.strip("+-").isdigit() else int(value)


def _faults(error: ValidationError) -> str:
    lines = []
    for fault in error.errors():
        where = ".".join(str(part) for part in fault["loc"])
        lines.append(f"{where}: {fault['msg']}, got {json.dumps(fault['input'], default=str)}")
    return "; ".join(lines)
