"""Whether the sections of an experiment fit together: pure checks, for every engine.

Each check looks only at sections that are valid by themselves, so that its findings can be
reported together with the faults of the others. Names that only transformers knows are
checked in jobs/check.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from pydantic import ValidationError

from hpo_pipeline.experiment.baseline import Setting, baseline_faults
from hpo_pipeline.experiment.checks.argument_ranges import range_fault, type_fault
from hpo_pipeline.experiment.checks.prices import price_faults
from hpo_pipeline.experiment.checks.strategies import rules_of, strategy_faults
from hpo_pipeline.experiment.formula import Formula
from hpo_pipeline.experiment.lora import Lora
from hpo_pipeline.experiment.metrics import PRACTICAL_METRICS, SCORE
from hpo_pipeline.experiment.objective import Objective
from hpo_pipeline.experiment.register import MIN_TEST_ROWS
from hpo_pipeline.experiment.rules import known_values
from hpo_pipeline.experiment.rules.checks import rule_faults
from hpo_pipeline.experiment.schema import (
    SelectLexicographic,
    SelectWeights,
    bounds,
)
from hpo_pipeline.experiment.serve import Serve
from hpo_pipeline.experiment.space import Frozen, Space
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.tasks.kind import Metric

SERVED = ("serve.format", "serve.quantize")
"""What a space may vary of the section `serve`."""


def cross_faults(sections: dict[str, Any]) -> list[str]:
    """Return what is wrong between sections, for those that are valid by themselves."""
    return [
        *_required_faults(sections),
        *_metric_faults(sections),
        *_serve_faults(sections),
        *_space_faults(sections),
        *_value_faults(sections),
        *_rule_faults(sections),
        *strategy_faults(sections),
        *_baseline_faults(sections),
        *_selection_faults(sections),
        *_confidence_faults(sections),
        *price_faults(sections),
    ]


def _required_faults(sections: dict[str, Any]) -> list[str]:
    task = sections.get("task")
    needs = TASKS[task.kind].needs if task is not None else ()
    return [f"task.{name}: is required" for name in needs if not getattr(task, name)]


def _metric_faults(sections: dict[str, Any]) -> list[str]:
    task = sections.get("task")
    if task is None:
        return []
    known = task.metric_names
    faults = [
        f"task.metrics.{name}: is the name of a built-in metric"
        for name in task.metrics
        if name in {*TASKS[task.kind].metrics(task), *PRACTICAL_METRICS, SCORE}
    ]
    objectives = sections.get("objective", ())
    read: list[tuple[str, frozenset[str]]] = []
    for i, objective in enumerate(objectives):
        where = "objective" if len(objectives) == 1 else f"objective.{i}"
        read.append((f"{where}.{'score' if objective.score else 'metric'}", objective.reads))
    constraints = enumerate(sections.get("constraints", ()))
    read += [(f"constraints.{i}", Formula(c).names) for i, c in constraints]
    is_open = TASKS[task.kind].is_own_code  # what its trainings report, only they know
    if is_open and task.metrics:
        faults.append(f"task.metrics: {task.kind} computes its own; leave it out")
    for where, names in () if is_open else read:
        allowed = {*known, SCORE} if where.startswith("constraints") else set(known)
        if where.startswith("constraints") and not any(o.score for o in objectives):
            allowed.discard(SCORE)
        faults += [
            f"{where}: no metric {name!r} in {task.kind}; there are {', '.join(known)}"
            for name in sorted(names - allowed)
        ]
    faults += _goal_faults(objectives, task.reported)
    chosen = [o.name for o in objectives]
    if len(set(chosen)) < len(chosen):
        faults.append(f"objective: each metric at most once, got {', '.join(chosen)}")
    return faults


def _goal_faults(objectives: Sequence[Objective], known: Mapping[str, Metric]) -> list[str]:
    """Return objectives that look for the worst: accuracy minimised, a loss maximised."""
    goals = {"higher": "maximize", "lower": "minimize"}
    faults = []
    for i, objective in enumerate(objectives):
        metric = known.get(objective.metric or "")
        if metric is None or metric.better is None:
            continue
        right = goals[metric.better]
        if objective.goal != right:
            where = "objective" if len(objectives) == 1 else f"objective.{i}"
            faults.append(
                f"{where}.goal: {objective.metric} is better when {metric.better}, so the goal "
                f"must be {right}, got {objective.goal}"
            )
    return faults


def _space_faults(sections: dict[str, Any]) -> list[str]:
    space, task = sections.get("space"), sections.get("task")
    if space is None:
        return []
    # Where the task is wrong itself, its kind is not known.
    kinds = TASKS.values() if task is None else [TASKS[task.kind]]
    searchable = [*dict.fromkeys(field for kind in kinds for field in kind.searchable)]
    searchable += ["model"] if all("model" in kind.needs for kind in kinds) else []
    faults = [
        f"space.{name}: of the task, only {', '.join(searchable)} can be searched"
        for name in space
        if name.startswith("task.") and name.removeprefix("task.") not in searchable
    ]
    faults += _lora_faults(task, space)
    if task is not None:
        for name in space:
            prefix, _, field = name.rpartition(".")
            if field in {"": task.training, "model": task.config}.get(prefix, {}):
                place = "config" if prefix else "training"
                faults.append(f"space.{name}: is fixed in task.{place} as well; keep one of them")
            if prefix == "model" and field in TASKS[task.kind].shared:
                faults.append(
                    f"space.{name}: the prepared data decide it for all trials; leave it out"
                )
            if prefix == "task" and field in searchable:
                faults += _task_value_faults(task, space, name)
    return faults


def _lora_faults(task: Task | None, space: Space) -> list[str]:
    """Return parameters of LoRA that there are not, or that have no adapters to describe."""
    names = [name for name in space if name.startswith("lora.")]
    known = [*Lora.model_fields]
    if names and task is not None and task.lora is None:
        return [f"space.{names[0]}: the task has no LoRA; write `lora: {{}}` into task"]
    faults = []
    for name in names:
        field = name.removeprefix("lora.")
        if field not in known:
            faults.append(f"space.{name}: of LoRA, only {', '.join(known)} can be searched")
            continue
        faults += _refused(space, name, Lora, {}, field)
    return faults


def _refused(
    space: Space, name: str, section: type[Frozen], fixed: Mapping[str, Any], field: str
) -> list[str]:
    """Return the values that span a parameter and that a section refuses for a field."""
    faults = []
    for value in bounds(space, name):
        try:
            section.model_validate({**fixed, field: value}, strict=True)
        except ValidationError as error:
            faults.append(f"space.{name}: {error.errors()[0]['msg']}, got {value!r}")
    return faults


def _serve_faults(sections: dict[str, Any]) -> list[str]:
    """Return artefacts that cannot be made of the models of the task."""
    task, serve, space = (sections.get(name) for name in ("task", "serve", "space"))
    if task is None or serve is None or space is None:
        return []
    if fault := _length_fault(task, serve):
        return [fault]
    names = [name for name in space if name.startswith("serve.")]
    if wrong := [name for name in names if name not in SERVED]:
        return [f"space.{wrong[0]}: of serve, only {', '.join(SERVED)} can be searched"]
    if names and serve.others:
        return [f"space.{names[0]}: serve is a list, of which each trial makes all; leave it out"]
    combined = product(*(bounds(space, name) for name in names))
    ways = [space.active(dict(zip(names, values, strict=True))) for values in combined]
    faults = []
    for way in ways:
        try:
            found = serve.assigned(way)
        except ValidationError as error:
            where = "space.serve" if way else "serve"
            faults.append(f"{where}.{error.errors()[0]['msg'].removeprefix('Value error, ')}")
            continue
        if not all(w.is_plain for w in found.variants) and not TASKS[task.kind].exports:
            return [f"serve: models of {task.kind} are served as they are; leave serve out"]
    return list(dict.fromkeys(faults))


def _length_fault(task: Task, serve: Serve) -> str | None:
    """Return why requests cannot have the lengths that they are to have."""
    longest = max((way.lengths[1] for way in serve.variants if way.lengths), default=None)
    if longest is None:
        return None
    if not TASKS[task.kind].has_text or TASKS[task.kind].is_own_code:
        return f"serve.lengths: {task.kind} has no tokens that we could count; leave it out"
    if longest > task.max_length:
        return (
            f"serve.lengths: the longest must be at most task.max_length, {task.max_length}, "
            f"after which a text is cut; got {longest}"
        )
    return None


def _rule_faults(sections: dict[str, Any]) -> list[str]:
    space, texts, task = (sections.get(name) for name in ("space", "space_rules", "task"))
    if space is None or not texts:
        return []
    return rule_faults(
        texts, space, known_values(task, sections.get("serve")), is_whole=task is not None
    )


def _baseline_faults(sections: dict[str, Any]) -> list[str]:
    task, space, search = (sections.get(name) for name in ("task", "space", "search"))
    given = sections.get("baseline")
    if task is None or space is None or search is None or given is None:
        return []
    setting = Setting(space, task, search, sections.get("serve"), rules_of(sections))
    return baseline_faults(given, setting)


def _confidence_faults(sections: dict[str, Any]) -> list[str]:
    """Return why the gate could not say how sure a gain is."""
    task, register, objectives = (sections.get(n) for n in ("task", "register_", "objective"))
    if task is None or not register or not objectives or register.min_gain.confidence is None:
        return []
    where, rows = "register.min_gain.confidence", task.rows.test
    known = TASKS[task.kind].row_metrics(task)
    lacking = sorted(objectives[0].reads - known - set(PRACTICAL_METRICS))
    if lacking or not objectives[0].reads & known:
        there = ", ".join(sorted(known)) or f"none of {task.kind}"
        return [
            f"{where}: {', '.join(lacking) or objectives[0].name} cannot be computed on samples of "
            f"the test rows; leave it out, or use an objective of these: {there}"
        ]
    if isinstance(rows, int) and rows < MIN_TEST_ROWS:
        return [f"{where}: needs {MIN_TEST_ROWS} test rows, and task.rows.test is {rows}"]
    return []


def _value_faults(sections: dict[str, Any]) -> list[str]:
    """Return values of arguments that no trial can have, fixed or searched."""
    task, space = sections.get("task"), sections.get("space")
    given: dict[str, tuple[str, list[Any]]] = {}
    if task is not None:
        given |= {f"task.training.{n}": (n, [v]) for n, v in task.training.items()}
        given |= {f"task.config.{n}": (f"model.{n}", [v]) for n, v in task.config.items()}
    if space is not None:
        given |= {f"space.{name}": (name, bounds(space, name)) for name in space}
    found = []
    for place, (name, values) in given.items():
        fault = next(filter(None, (type_fault(name, value) for value in values)), None)
        fault = fault or range_fault(name, values)
        found += [f"{place}: {fault}"] if fault else []
    return found


def _task_value_faults(task: Task, space: Space, name: str) -> list[str]:
    field = name.removeprefix("task.")
    fixed = {"kind": task.kind, "model": "m", "data": "d", "from_scratch": task.from_scratch}
    return _refused(space, name, Task, fixed, field)


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
            f"select.tolerance.{name}: is not an objective; the objectives are {', '.join(names)}"
            for name in rule.tolerance
            if name not in names
        ]
    return []


def _objective_name_faults(where: str, given: list[str], names: list[str]) -> list[str]:
    """Return what is wrong with a list that must name every objective once."""
    listed = ", ".join(names)
    faults = [
        f"{where}: {n!r} is not an objective; the objectives are {listed}"
        for n in given
        if n not in names
    ]
    faults += [
        f"{where}: {name} is missing; every objective must be there ({listed})"
        for name in names
        if name not in given
    ]
    twice = [name for name in dict.fromkeys(given) if given.count(name) > 1]
    return faults + [f"{where}: {name} is there {given.count(name)} times" for name in twice]
