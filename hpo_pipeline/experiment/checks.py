"""Whether the sections of an experiment fit together: pure checks, for every engine.

Each check speaks only about sections that are right by themselves, so that their findings can
be reported together with the faults of the others. Names that only transformers knows are
checked in tasks/checking.py.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from hpo_pipeline.experiment.formula import Formula
from hpo_pipeline.experiment.metrics import PRACTICAL_METRICS, SCORE
from hpo_pipeline.experiment.schema import (
    Budget,
    SelectLexicographic,
    SelectWeights,
    bounds,
)
from hpo_pipeline.experiment.search import PbtSearch
from hpo_pipeline.experiment.space import Space, Value
from hpo_pipeline.experiment.stopping import (
    AshaStopping,
    HyperbandStopping,
    ThresholdStopping,
)
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.tasks import TASKS

MAX_GRID = 100_000
IN_FLIGHT = (
    "learning_rate",
    "weight_decay",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "max_grad_norm",
    "label_smoothing_factor",
    "neftune_noise_alpha",
)
"""What may change while a model trains: the optimiser's state and the step count stay valid."""


def cross_faults(sections: dict[str, Any]) -> list[str]:
    """Return what is wrong between sections, for those that are right by themselves."""
    return [
        *_metric_faults(sections),
        *_space_faults(sections),
        *_search_faults(sections),
        *_algorithm_faults(sections),
        *_stopping_faults(sections),
        *_population_faults(sections),
        *_selection_faults(sections),
        *_confirmation_faults(sections),
    ]


def _metric_faults(sections: dict[str, Any]) -> list[str]:
    task = sections.get("task")
    if task is None:
        return []
    known = task.metric_names
    faults = [
        f"task.metrics.{name}: is the name of a built-in metric"
        for name in task.metrics
        if name in {*TASKS[task.kind].targets.metrics, *PRACTICAL_METRICS, SCORE}
    ]
    objectives = sections.get("objective", ())
    read: list[tuple[str, frozenset[str]]] = []
    for i, objective in enumerate(objectives):
        where = "objective" if len(objectives) == 1 else f"objective.{i}"
        read.append((f"{where}.{'score' if objective.score else 'metric'}", objective.reads))
    constraints = enumerate(sections.get("constraints", ()))
    read += [(f"constraints.{i}", Formula(c).names) for i, c in constraints]
    for where, names in read:
        allowed = {*known, SCORE} if where.startswith("constraints") else set(known)
        if where.startswith("constraints") and not any(o.score for o in objectives):
            allowed.discard(SCORE)
        faults += [
            f"{where}: no metric {name!r} in {task.kind}; there are {', '.join(known)}"
            for name in sorted(names - allowed)
        ]
    chosen = [o.name for o in objectives]
    if len(set(chosen)) < len(chosen):
        faults.append(f"objective: each metric at most once, got {', '.join(chosen)}")
    return faults


def _space_faults(sections: dict[str, Any]) -> list[str]:
    space, task = sections.get("space"), sections.get("task")
    if space is None:
        return []
    # Where the task is wrong itself, its kind is not known.
    kinds = TASKS.values() if task is None else [TASKS[task.kind]]
    searchable = [*dict.fromkeys(field for kind in kinds for field in kind.searchable)]
    faults = [
        f"space.{name}: of the task, only {', '.join(searchable)} can be searched"
        for name in space
        if name.startswith("task.") and name.removeprefix("task.") not in searchable
    ]
    if task is not None:
        for name in space:
            prefix, _, field = name.rpartition(".")
            if field in {"": task.training, "model": task.config}.get(prefix, {}):
                place = "config" if prefix else "training"
                faults.append(f"space.{name}: is fixed in task.{place} as well; keep one of them")
            if prefix == "task" and field in searchable:
                faults += _task_value_faults(task.kind, space, name)
    return faults


def _task_value_faults(kind: str, space: Space, name: str) -> list[str]:
    faults, field = [], name.removeprefix("task.")
    for value in bounds(space, name):
        try:
            Task.model_validate(
                {"kind": kind, "model": "m", "data": "d", field: value}, strict=True
            )
        except ValidationError as error:
            faults.append(f"space.{name}: {error.errors()[0]['msg']}, got {value!r}")
    return faults


def _search_faults(sections: dict[str, Any]) -> list[str]:
    space, search = sections.get("space"), sections.get("search")
    objectives, stopping = sections.get("objective"), sections.get("stopping")
    budget = sections.get("budget")
    faults: list[str] = []
    if space is not None and search is not None:
        faults += _grid_faults(space) if search.algorithm == "grid" else []
        for i, assignments in enumerate(search.start):
            faults += _start_faults(space, assignments, f"search.start.{i}")
    if objectives and len(objectives) > 1:
        if stopping is not None and stopping.algorithm != "none":
            faults.append(
                f"stopping.algorithm: {stopping.algorithm} compares one objective, and there are "
                f"{len(objectives)}; use none, or one objective with a score formula"
            )
        if budget is not None and budget.target is not None:
            faults.append("budget.target: needs one objective")
    return faults


def _population_faults(sections: dict[str, Any]) -> list[str]:
    """Return what keeps population based training from serving the other sections."""
    search, space, stopping = (sections.get(name) for name in ("search", "space", "stopping"))
    if not isinstance(search, PbtSearch):
        return []
    size = search.settings.population
    faults = [
        f"space.{name}: pbt changes parameters while a model trains, which this one does not "
        f"allow; it may vary {', '.join(IN_FLIGHT)}; fix this one in the task, or use random or tpe"
        for name in space or ()
        if name not in IN_FLIGHT
    ]
    if stopping is not None and stopping.algorithm != "none":
        faults.append(
            f"stopping.algorithm: must be none with pbt, which ends bad members itself, "
            f"got {stopping.algorithm}"
        )
    if len(sections.get("objective", ())) > 1:
        faults.append("objective: pbt compares one objective; combine them in a score formula")
    if search.warm_start:
        faults.append("search.warm_start: pbt learns from its own members only; leave it out")
    if len(search.start) > size:
        faults.append(
            f"search.start: at most {size} entries, one a member of search.settings.population, "
            f"got {len(search.start)}"
        )
    return faults + _population_budget_faults(sections.get("budget"), size)


def _population_budget_faults(budget: Budget | None, size: int) -> list[str]:
    if budget is None:
        return []
    faults = []
    if budget.trials % size or budget.trials < 2 * size:
        below = max(2, budget.trials // size) * size
        faults.append(
            f"budget.trials: must be a multiple of the population ({size}), at least {2 * size}, "
            f"for a trial is one interval of one member; got {budget.trials}, "
            f"try {below} or {below + size}"
        )
    if budget.parallel > size:
        faults.append(
            f"budget.parallel: at most the population ({size}), for a member trains one interval "
            f"at a time, got {budget.parallel}"
        )
    return faults


def _algorithm_faults(sections: dict[str, Any]) -> list[str]:
    """Return where the search algorithm cannot serve the space or the objectives."""
    space, search = sections.get("space"), sections.get("search")
    objectives = sections.get("objective")
    if search is None:
        return []
    faults, name = [], search.algorithm
    if space is not None:
        numeric = [n for n in space if space[n].type != "choice"]
        if name == "cmaes" and len(numeric) < 2:
            faults.append(
                f"search.algorithm: cmaes needs at least 2 parameters that are numbers, and there "
                f"are {len(numeric)}; use tpe, genetic or random"
            )
        if name == "qmc" and not numeric:
            faults.append(
                "search.algorithm: qmc needs a parameter that is a number; use grid or random"
            )
    if space is not None and name == "pbt" and space.has_conditions:
        faults.append("search.algorithm: pbt knows no conditions (when); use tpe or random")
    if objectives and name == "nsga2" and len(objectives) == 1:
        faults.append("search.algorithm: nsga2 needs several objectives; use genetic for one")
    if objectives and name in ("genetic", "cmaes") and len(objectives) > 1:
        other = "nsga2" if name == "genetic" else "nsga2, tpe or gp"
        faults.append(f"search.algorithm: {name} serves one objective; use {other} for several")
    if search.warm_start and name not in ("tpe", "gp", "pbt"):
        faults.append(f"search.warm_start: {name} learns nothing from it; tpe and gp do")
    return faults


def _stopping_faults(sections: dict[str, Any]) -> list[str]:
    """Return where a stopping rule lacks something, or contradicts itself."""
    rule = sections.get("stopping")
    if isinstance(rule, ThresholdStopping):
        if rule.lower is None and rule.upper is None:
            return ["stopping: threshold needs lower, upper or both"]
        if rule.lower is not None and rule.upper is not None and rule.lower >= rule.upper:
            return [f"stopping.lower: must be below upper, got {rule.lower:g} and {rule.upper:g}"]
    if isinstance(rule, AshaStopping | HyperbandStopping):
        longest = rule.max_resource
        if longest is not None and longest < rule.grace_period:
            return [
                f"stopping.max_resource: must be at least grace_period, "
                f"got {longest} and {rule.grace_period}"
            ]
    if isinstance(rule, HyperbandStopping) and rule.max_resource is None:
        task = sections.get("task")
        by_steps = task is not None and (
            "max_steps" in task.training
            or (
                rule.resource == "evaluation"
                and task.training.get("eval_strategy", "epoch") != "epoch"
            )
        )
        if by_steps or "max_steps" in sections.get("space", ()):
            return [
                "stopping.max_resource: hyperband needs it where steps, not epochs, decide how "
                "many evaluations there are"
            ]
    return []


def _grid_faults(space: Space) -> list[str]:
    faults = [
        f"search.algorithm: grid cannot enumerate space.{name}; give it a step, or use "
        f"random, tpe or gp"
        for name in space
        if space[name].count() is None
    ]
    size = space.size()
    if size is not None and size > MAX_GRID:
        faults.append(f"search.algorithm: the grid has {size:,} points, at most {MAX_GRID:,}")
    return faults


def _start_faults(space: Space, assignments: dict[str, Value], where: str) -> list[str]:
    unknown = [name for name in assignments if name not in space]
    known = {name: value for name, value in assignments.items() if name in space}
    filled = {
        name: known.get(name, space[name].grid()[0] if space[name].count() else 0.0)
        for name in space
    }
    missing = [name for name in space.active(filled) if name not in assignments]
    faults = [f"{where}.{name}: not in the space ({', '.join(space)})" for name in unknown]
    faults += [f"{where}: {name} is missing" for name in missing]
    for name in space:
        if name in assignments and not space[name].contains(assignments[name]):
            faults.append(f"{where}.{name}: {assignments[name]!r} is not in the space")
    return faults


def _selection_faults(sections: dict[str, Any]) -> list[str]:
    """Return what keeps the selection rule from serving the objectives."""
    rule, objectives = sections.get("select"), sections.get("objective")
    if rule is None or not objectives:
        return []
    names = [o.name for o in objectives]
    if rule.rule == "best" and len(names) > 1:
        return [
            f"select.rule: best compares one objective, and there are {len(names)}; "
            f"use knee, weights or lexicographic"
        ]
    if rule.rule != "best" and len(names) == 1:
        return [
            f"select.rule: {rule.rule} chooses among several objectives, and there is one; "
            f"leave select out"
        ]
    if isinstance(rule, SelectWeights):
        return _objective_name_faults("select.weights", list(rule.weights), names)
    if isinstance(rule, SelectLexicographic):
        return _objective_name_faults("select.order", list(rule.order), names) + [
            f"select.tolerance.{name}: is no objective; there are {', '.join(names)}"
            for name in rule.tolerance
            if name not in names
        ]
    return []


def _objective_name_faults(where: str, given: list[str], names: list[str]) -> list[str]:
    """Return what is wrong with a list that must name every objective once."""
    listed = ", ".join(names)
    faults = [
        f"{where}: {n!r} is no objective; there are {listed}" for n in given if n not in names
    ]
    faults += [
        f"{where}: {name} is missing; every objective must be there ({listed})"
        for name in names
        if name not in given
    ]
    twice = [name for name in dict.fromkeys(given) if given.count(name) > 1]
    return faults + [f"{where}: {name} is there {given.count(name)} times" for name in twice]


def _confirmation_faults(sections: dict[str, Any]) -> list[str]:
    if sections.get("confirm") is None or not isinstance(sections.get("search"), PbtSearch):
        return []
    return [
        "confirm: the winner of pbt changed its configuration while it trained, so there is none "
        "to train again; leave confirm out"
    ]
