"""Katib's messages as our search problem and trials; the only translation between the two.

It serves experiments that `hpo render` wrote and those that a person wrote for Katib alike.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from hpo_pipeline.engines.katib.names import PREFIX
from hpo_pipeline.engines.katib.settings import EARLIER, earlier_trials, read_search
from hpo_pipeline.experiment.algorithms.base import Problem
from hpo_pipeline.experiment.checks import cross_faults
from hpo_pipeline.experiment.schema import Budget, ConstraintsSection, ObjectiveSection
from hpo_pipeline.experiment.search import SearchSection
from hpo_pipeline.experiment.space import Frozen, Space, Value
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
    conditions = travelling.pop("conditions", {})
    space = {}
    for parameter in spec.parameter_specs.parameters:
        if parameter.name == PARENT:
            continue
        try:
            space[parameter.name] = _parameter(parameter, conditions.get(parameter.name, {}))
        except ValueError as error:
            faults.append(f"parameters.{parameter.name}: {error}")
    goal = _GOALS.get(spec.objective.type, "")
    single = {"metric": spec.objective.objective_metric_name, "goal": goal}
    objectives = travelling.get("objectives", single)
    content = {
        "space": space,
        "objective": objectives if isinstance(objectives, list) else [objectives],
        "constraints": travelling.get("constraints", []),
        "search": {"algorithm": algorithm, "seed": travelling.get("seed", 0), "settings": own},
    }
    if faults:
        raise ValueError("; ".join(faults))
    try:
        sections = _Sections.model_validate(content)
        start = [sections.space.parse(point) for point in travelling.get("start", ())]
    except ValidationError as error:
        raise ValueError(_faults(error)) from error
    search = sections.search.model_copy(update={"start": tuple(start)})
    problem = Problem(
        name=message.name,
        space=sections.space,
        objective=sections.objective,
        search=search,
        trials=spec.max_trial_count or _UNLIMITED,
        constraints=sections.constraints,
    )
    budget = Budget.model_construct(
        trials=problem.trials, parallel=spec.parallel_trial_count or 1, target=None
    )
    named = {"space": problem.space, "search": search, "objective": problem.objective}
    wrong = cross_faults({**named, "constraints": problem.constraints, "budget": budget})
    if wrong:
        raise ValueError("; ".join(wrong))
    return problem, earlier_trials(travelling.get(EARLIER, ()), problem.space)


def known_trials(problem: Problem, messages: Iterable[wire.Trial]) -> dict[int, Known]:
    """Return the trials of a request by their numbers; those that are not ours are left out.

    Katib lists the trials of experiments of the same name in all namespaces together
    (kubeflow/katib#2578): of trials with the same name the one that is further on counts.
    """
    found: dict[int, tuple[Known, wire.Trial]] = {}
    for message in messages:
        number = trial_number(message.name)
        if number is None or not message.name.startswith(f"{problem.name}-"):
            continue
        known = Known(*_trial(problem, message, number))
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
    parent = trial_number(texts.pop(PARENT, NO_PARENT))
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
    # The one value that Katib keeps of a stopped trial stands for its curve.
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


def _parameter(message: wire.ParameterSpec, conditions: dict[str, Any]) -> dict[str, Any]:
    space = message.feasible_space
    if message.parameter_type in (wire.CATEGORICAL, wire.DISCRETE):
        # As texts: the values are the trial's to read.
        return {"type": "choice", "values": list(space.list), "when": conditions}
    if space.distribution in (wire.NORMAL, wire.LOG_NORMAL):
        raise ValueError("the distribution must be uniform or logUniform")
    is_int = message.parameter_type == wire.INT
    number = int if is_int else float
    found = {
        "type": "int" if is_int else "float",
        "low": number(space.min),
        "high": number(space.max),
        "log": space.distribution == wire.LOG_UNIFORM,
        "when": conditions,
    }
    return found | ({"step": number(space.step)} if space.step else {})


def _faults(error: ValidationError) -> str:
    lines = []
    for fault in error.errors():
        where = ".".join(str(part) for part in fault["loc"])
        lines.append(f"{where}: {fault['msg']}, got {json.dumps(fault['input'], default=str)}")
    return "; ".join(lines)
