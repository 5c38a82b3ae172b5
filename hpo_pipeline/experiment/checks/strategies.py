"""Whether the search and its stopping rule serve the space, the objectives and the budget.

All of it follows from the traits of the algorithm (algorithms/), none from its name.
"""

from __future__ import annotations

from typing import Any

from hpo_pipeline.experiment.algorithms import ALGORITHMS
from hpo_pipeline.experiment.algorithms.base import AnySearch
from hpo_pipeline.experiment.algorithms.base import size as size_of
from hpo_pipeline.experiment.choosing import MAX_GRID
from hpo_pipeline.experiment.configuration import allowed, outside
from hpo_pipeline.experiment.rules import NO_RULES, Rules, bound, known_values
from hpo_pipeline.experiment.rules.checks import rule_faults
from hpo_pipeline.experiment.rules.region import region_of
from hpo_pipeline.experiment.schema import Budget
from hpo_pipeline.experiment.space import Space, Value
from hpo_pipeline.experiment.stopping import (
    ROWS,
    AnyStopping,
    AshaStopping,
    HyperbandStopping,
    ThresholdStopping,
    rows_in,
)
from hpo_pipeline.tasks import TASKS

LEAST_CLASSES = 2
"""Without so many there is nothing to classify."""

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


def strategy_faults(sections: dict[str, Any]) -> list[str]:
    """Return what keeps the search or its stopping rule from working as the file has it."""
    return [
        *_search_faults(sections),
        *_algorithm_faults(sections),
        *_stopping_faults(sections),
        *_population_faults(sections),
        *_confirmation_faults(sections),
    ]


def _search_faults(sections: dict[str, Any]) -> list[str]:
    space, search = sections.get("space"), sections.get("search")
    rules = rules_of(sections)
    objectives, stopping = sections.get("objective"), sections.get("stopping")
    budget = sections.get("budget")
    faults: list[str] = []
    if space is not None and search is not None:
        faults += _enumeration_faults(space, rules, search) if search.is_exhaustible else []
        for i, assignments in enumerate(search.start):
            found = _start_faults(space, assignments, f"search.start.{i}")
            faults += found or _broken_faults(space, rules, assignments, f"search.start.{i}")
        faults += _prior_faults(space, search)
    if objectives and len(objectives) > 1:
        if stopping is not None and not stopping.ranks:
            faults.append(
                f"stopping.algorithm: {stopping.algorithm} needs the values of one objective, and "
                f"there are {len(objectives)}; use median, percentile, asha or hyperband, which "
                f"compare Pareto ranks, or one objective with a score formula"
            )
        if budget is not None and budget.target is not None:
            faults.append("budget.target: needs one objective")
    return faults


def _population_faults(sections: dict[str, Any]) -> list[str]:
    """Return what keeps population based training from serving the other sections."""
    search, space, stopping = (sections.get(name) for name in ("search", "space", "stopping"))
    size = None if search is None else search.population_size
    if search is None or size is None:
        return []
    kind = search.algorithm
    faults = [
        f"space.{name}: {kind} changes parameters while a model trains, which this one does not "
        f"allow; it may vary {', '.join(IN_FLIGHT)}; fix this one in the task, or use random or tpe"
        for name in space or ()
        if name not in IN_FLIGHT
    ]
    if stopping is not None and stopping.algorithm not in ("none", "auto"):
        faults.append(
            f"stopping.algorithm: must be none with {kind}, which ends bad members itself, "
            f"got {stopping.algorithm}"
        )
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
        numbers = sum(space[n].type != "choice" for n in space)
        if numbers < search.needs_numbers:
            count = search.needs_numbers
            needed = (
                "a parameter that is a number"
                if count == 1
                else f"at least {count} parameters that are numbers, and there are {numbers}"
            )
            faults.append(f"search.algorithm: {name} needs {needed}; use {search.instead}")
        if sections.get("space_rules") and not search.knows_rules:
            faults.append(
                f"search.algorithm: {name} knows no rules (space_rules) and would propose trials "
                f"that break them; use {search.instead}"
            )
        if space.has_conditions and not search.knows_conditions:
            faults.append(
                f"search.algorithm: {name} knows no conditions (when); use {search.instead}"
            )
    if objectives and search.objectives == "several" and len(objectives) == 1:
        faults.append(
            f"search.algorithm: {name} needs several objectives; use {_others('one')} for one"
        )
    if objectives and search.objectives == "one" and len(objectives) > 1:
        faults.append(
            f"search.algorithm: {name} serves one objective; use {_others('several')}, or combine "
            f"them in a score formula"
        )
    if search.warm_start and not search.learns_from_earlier:
        learners = [n for n, kind in ALGORITHMS.items() if kind.learns_from_earlier]
        listed = f"{', '.join(learners[:-1])} and {learners[-1]}"
        faults.append(f"search.warm_start: {name} learns nothing from it; {listed} do")
    return faults


def _others(objectives: str) -> str:
    """Name the algorithms that serve one objective, or several: those made for it first."""
    # Those that serve any space; a population needs a budget of its own kind besides.
    kinds = {
        n: k for n, k in ALGORITHMS.items() if k.service and not (k.has_population or k.is_choice)
    }
    found = [n for n, k in kinds.items() if k.objectives == objectives and not k.needs_numbers]
    if objectives == "several":
        found += [n for n, k in kinds.items() if k.objectives == "any" and k.learns_from_earlier]
    return " or ".join(found)


def _stopping_faults(sections: dict[str, Any]) -> list[str]:
    """Return where a stopping rule lacks something, or contradicts itself."""
    rule = sections.get("stopping")
    if isinstance(rule, ThresholdStopping):
        if rule.lower is None and rule.upper is None:
            return ["stopping: threshold needs lower, upper or both"]
        if rule.lower is not None and rule.upper is not None and rule.lower >= rule.upper:
            return [f"stopping.lower: must be below upper, got {rule.lower:g} and {rule.upper:g}"]
    if isinstance(rule, AshaStopping | HyperbandStopping):
        if rule.resource == ROWS:
            return _row_faults(rule, sections)
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


def _row_faults(rule: AnyStopping, sections: dict[str, Any]) -> list[str]:
    """Return why trials cannot be judged by trainings on shares of their rows."""
    assert isinstance(rule, AshaStopping)
    faults, least = [], rule.grace_period * rule.reduction_factor
    where = "stopping.resource: rows"
    if not rule.row_parts:
        faults.append(
            f"stopping.max_resource: is all rows, so with rows it must be at least grace_period x "
            f"reduction_factor ({least}), got {rule.max_resource}"
        )
    task, space = sections.get("task"), sections.get("space")
    if task is None:
        return faults
    kind = TASKS[task.kind]
    if kind.is_own_code:
        faults.append(
            f"{where} needs a training that this program builds, and {task.kind} trains by code "
            f"of your own; use evaluation or epoch"
        )
    if "max_steps" in task.training or "max_steps" in (space or ()):
        faults.append(
            f"{where} makes no training shorter whose max_steps are fixed; use num_train_epochs, "
            f"or resource: evaluation"
        )
    if task.training.get("eval_on_start"):
        faults.append(f"{where} does not go with eval_on_start; leave it out of task.training")
    rows = task.rows.train
    if not faults and isinstance(rows, int) and kind.form(task).label == "class":
        few = rows_in(rows, rule.row_shares[0])
        if few < LEAST_CLASSES:
            faults.append(
                f"{where}: the smallest share ({rule.grace_period} of {rule.all_parts} parts) of "
                f"{rows} rows is {few} row, fewer than the {LEAST_CLASSES} classes that there are "
                f"at least; raise grace_period or task.rows.train, or lower max_resource"
            )
    return faults


def rules_of(sections: dict[str, Any]) -> Rules:
    """Return the rules of an experiment; none where they, or what they read, have faults."""
    if isinstance(given := sections.get("rules"), Rules):
        return given
    space, texts, task = (sections.get(name) for name in ("space", "space_rules", "task"))
    if not texts or space is None or task is None:
        return NO_RULES
    known = known_values(task, sections.get("serve"))
    return NO_RULES if rule_faults(texts, space, known) else bound(texts, space, known)


def _broken_faults(
    space: Space, rules: Rules, assignments: dict[str, Value], where: str
) -> list[str]:
    """Return the rules that a configuration to begin with breaks."""
    broken = region_of(space, rules).broken(assignments) if rules else []
    return [f"{where}: breaks the rule {text!r}" for text in broken]


def _enumeration_faults(space: Space, rules: Rules, search: AnySearch) -> list[str]:
    """Return why an algorithm that tries every point cannot do so."""
    endless = [
        f"search.algorithm: {search.algorithm} cannot enumerate space.{name}; give it a step, or "
        f"use {search.instead}"
        for name in space
        if space[name].count() is None
    ]
    if endless:
        return endless
    size = size_of(space, rules)
    if size is None:
        what = "rules and conditions" if rules else "conditions"
        return [
            f"search.algorithm: the {what} of the space combine in too many ways for "
            f"{search.algorithm}; use {search.instead}"
        ]
    if size > MAX_GRID:
        return [f"search.algorithm: the grid has {size:,} points, at most {MAX_GRID:,}"]
    return []


def _start_faults(space: Space, assignments: dict[str, Value], where: str) -> list[str]:
    known = {name: value for name, value in assignments.items() if name in space}
    filled = {name: known.get(name, space[name].point(0)) for name in space}
    missing = [name for name in space.active(filled) if name not in assignments]
    faults = [f"{where}: {name} is missing; it must be {allowed(space[name])}" for name in missing]
    return outside(space, assignments, where) + faults


def _prior_faults(space: Space, search: AnySearch) -> list[str]:
    """Return beliefs that the space does not have, or that nobody would read."""
    prior = search.prior
    if prior and search.service is None:
        return [
            "search.prior: Katib's own algorithms know no beliefs; leave it out, or use one of ours"
        ]
    return outside(space, prior, "search.prior")


def _confirmation_faults(sections: dict[str, Any]) -> list[str]:
    search = sections.get("search")
    if sections.get("confirm") is None or search is None or search.population_size is None:
        return []
    return [
        f"confirm: the winner of {search.algorithm} changed its configuration while it trained, "
        f"so there is none to train again; leave confirm out"
    ]
