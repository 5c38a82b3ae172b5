"""What `algorithm: auto` stands for, in `search` and in `stopping`.

The rules follow the recorded benchmarks (benchmarks/README.md) and are written down in
docs/strategies.md. They ask for what the file says alone, so that every engine, and a run that
resumes, chooses the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from hpo_pipeline.experiment.algorithms import ALGORITHMS
from hpo_pipeline.experiment.algorithms.base import AnySearch, size
from hpo_pipeline.experiment.rules import NO_RULES, Rules
from hpo_pipeline.experiment.space import Space
from hpo_pipeline.experiment.stopping import (
    NO_STOPPING,
    AutoStopping,
    ForecastStopping,
    MedianStopping,
    Stopping,
)

MAX_GRID = 100_000
FEW_PARAMETERS = 10
"""Up to as many, a Gaussian process is worth its time."""
GP_TRIALS = range(15, 501)
"""Budgets at which it is: with fewer trials it knows too little, with more it costs too much."""
STARTUP, LONG_STARTUP = 7, 10

Section = TypeVar("Section")


@dataclass(frozen=True)
class Shape:
    """What the choice depends on; `stops` is whether trials end early."""

    space: Space
    objectives: int
    trials: int
    parallel: int = 1
    stops: bool = True
    rules: Rules = NO_RULES


def chosen_search(search: AnySearch, shape: Shape) -> tuple[AnySearch, str | None]:
    """Return the algorithm that a section stands for, and why it was chosen.

    There is no reason where the file names the algorithm.
    """
    if not search.is_choice:
        return search, None
    name, why, settings = _search(search, shape)
    shared = {n: getattr(search, n) for n in AnySearch.model_fields if n not in _OWN}
    kind = ALGORITHMS[name]
    return kind.model_validate({**shared, "algorithm": name, "settings": settings}), why


_OWN = ("algorithm", "settings")


def _search(search: AnySearch, shape: Shape) -> tuple[str, str, dict[str, Any]]:
    space, trials = shape.space, shape.trials
    has_beliefs = bool(search.warm_start)
    count = size(space, shape.rules)
    if count is not None and count <= min(trials, MAX_GRID) and not has_beliefs:
        return "grid", f"budget.trials covers all {count} configurations", {}
    numbers = sum(space[name].type != "choice" for name in space)
    if trials <= shape.parallel and not has_beliefs:
        why = "all trials start before the first has ended"
        return ("qmc" if numbers and not space.has_conditions else "random"), why, {}
    startup = {"startup_trials": STARTUP if len(space) <= FEW_PARAMETERS else LONG_STARTUP}
    if shape.objectives > 1:
        return "tpe", f"{shape.objectives} objectives", startup
    if space.has_conditions:
        return "tpe", "parameters depend on others (when)", startup
    if not numbers or len(space) > FEW_PARAMETERS:
        what = f"{len(space)} parameters" if numbers else "no parameter is a number"
        return "tpe", what, startup
    if shape.stops or trials not in GP_TRIALS:
        why = "trials are stopped early" if shape.stops else f"{trials} trials"
        return "tpe", why, startup
    return "gp", f"{len(space)} parameters, {trials} trials that all run to their end", startup


def chosen_stopping(
    stopping: Stopping, search: AnySearch, *, objectives: int, longest: int | None
) -> tuple[Stopping, str | None]:
    """Return the rule that a section stands for, and why it was chosen.

    Args:
        longest: the most evaluations of any trial, or None where that is unknown.
    """
    if not isinstance(stopping, AutoStopping):
        return stopping, None
    if search.population_size is not None:
        return NO_STOPPING, f"{search.algorithm} ends bad members itself"
    if search.service is None:
        return NO_STOPPING, "the search is Katib's own"
    if longest is not None and longest < 2:
        return NO_STOPPING, "a trial has one evaluation"
    if objectives > 1:
        return MedianStopping(algorithm="median", min_trials=4), f"{objectives} objectives"
    if longest == 2:
        return MedianStopping(algorithm="median"), "a trial has two evaluations"
    return ForecastStopping(algorithm="forecast"), "one objective with a curve"
