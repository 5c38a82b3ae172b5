"""The experiment: the schema of the file that every engine reads.

The fields of the file are defined here, in the files of its sections (task.py, space.py,
objective.py, stopping.py, cluster.py) and in algorithms/; everything else is derived from these
frozen models. How a file is read is in loading.py, whether its sections fit together in checks/.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticSerializationError

from hpo_pipeline.experiment.algorithms.base import AnySearch, Problem
from hpo_pipeline.experiment.baseline import Baseline, BaselineSection, Setting, baseline_of
from hpo_pipeline.experiment.choosing import Shape, chosen_search, chosen_stopping
from hpo_pipeline.experiment.cluster import Cluster
from hpo_pipeline.experiment.evaluations import evaluations
from hpo_pipeline.experiment.formula import Constraint, ConstraintText
from hpo_pipeline.experiment.objective import Goal, Objective
from hpo_pipeline.experiment.prices import Prices
from hpo_pipeline.experiment.register import Register
from hpo_pipeline.experiment.rules import Rules, bound, known_values
from hpo_pipeline.experiment.rules.rule import RuleText
from hpo_pipeline.experiment.search import DEFAULT_SEARCH, SearchSection
from hpo_pipeline.experiment.serve import PLAIN, Serve
from hpo_pipeline.experiment.space import Count, Frozen, Space, Value, as_tuple
from hpo_pipeline.experiment.stopping import DEFAULT_STOPPING, Stopping, StoppingSection
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.experiment.track import TrackSection

MAX_MINUTES = 525_600
"""A year."""


class Budget(Frozen):
    """When the search ends, and how much of it runs at a time."""

    trials: Annotated[int, Field(ge=1, le=100_000)]
    parallel: Annotated[int, Field(ge=1, le=1_000)] = 1
    max_failed: Annotated[int, Field(ge=0, le=100_000)] = 3
    minutes: Annotated[float, Field(gt=0, le=MAX_MINUTES)] | None = None
    target: float | None = None
    keep: Count = 1

    def ended(
        self,
        *,
        failed: int = 0,
        seconds: float = 0.0,
        best: float | None = None,
        goal: Goal = "maximize",
    ) -> str | None:
        """Return why the search must end before its last trial, or None.

        Args:
            failed: how many trials have failed.
            seconds: how long the search has run, over all its parts.
            best: the objective of the best trial that satisfies the constraints; None for none.
            goal: the direction of that objective.
        """
        if self.target is not None and best is not None:
            sign = 1 if goal == "maximize" else -1
            if sign * (best - self.target) >= 0:
                return f"the target {self.target:g} is reached"
        if failed > self.max_failed:
            return f"{failed} trials failed, and budget.max_failed allows {self.max_failed}"
        if self.minutes is not None and seconds > self.minutes * 60:
            return f"the {self.minutes:g} minutes are over"
        return None


class SelectBest(Frozen):
    """The best trial by the only objective."""

    rule: Literal["best"]


class SelectKnee(Frozen):
    """The trial of the Pareto front that is farthest from the plane through its extremes."""

    rule: Literal["knee"]


class SelectWeights(Frozen):
    """The trial with the largest weighted mean of the objectives, each scaled by the front."""

    rule: Literal["weights"]
    weights: dict[str, Annotated[float, Field(gt=0)]]


class SelectLexicographic(Frozen):
    """The best by the first objective of `order`; among those within its tolerance, the next."""

    rule: Literal["lexicographic"]
    order: Annotated[tuple[str, ...], BeforeValidator(as_tuple)]
    tolerance: dict[str, Annotated[float, Field(ge=0)]] = {}


Select = SelectBest | SelectKnee | SelectWeights | SelectLexicographic
SelectSection = Annotated[Select, Field(discriminator="rule")]

MAX_SEEDS = 100


class Confirm(Frozen):
    """The `top` configurations of the search are trained again with `seeds` other seeds each."""

    top: Annotated[int, Field(ge=1, le=100)] = 3
    seeds: Annotated[int, Field(ge=2, le=MAX_SEEDS)] = 3


class Local(Frozen):
    """What only the engine of this machine reads."""

    trials_per_gpu: Count = 1
    threads: Count | None = None


def _as_list(value: Any) -> Any:
    return as_tuple(value) if isinstance(value, list | tuple) else (value,)


MAX_CONSTRAINTS = 50
MAX_RULES = 50
MAX_JSON = 100_000
"""So that it is below document.MAX_BYTES in any form."""
Objectives = Annotated[tuple[Objective, ...], Field(min_length=1, max_length=4)]
ObjectiveSection = Annotated[
    tuple[Objective, ...],
    Field(min_length=1, max_length=4),
    BeforeValidator(_as_list, json_schema_input_type=Objective | Objectives),
]
ConstraintsSection = Annotated[
    tuple[ConstraintText, ...], Field(max_length=MAX_CONSTRAINTS), BeforeValidator(as_tuple)
]
ServeSection = Annotated[
    Serve,
    BeforeValidator(lambda given: given, json_schema_input_type=Serve | tuple[Serve, ...]),
]
RulesSection = Annotated[
    tuple[RuleText, ...], Field(max_length=MAX_RULES), BeforeValidator(as_tuple)
]
"""Conditions between parameters, which every trial keeps."""


class Experiment(Frozen):
    """One experiment file."""

    name: Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$")]
    task: Task
    objective: ObjectiveSection
    constraints: ConstraintsSection = ()
    serve: ServeSection = PLAIN
    prices: Prices | None = None
    space: Space
    space_rules: RulesSection = ()
    search: SearchSection = DEFAULT_SEARCH
    baseline: BaselineSection = "default"
    stopping: StoppingSection = DEFAULT_STOPPING
    budget: Budget
    select: SelectSection | None = None
    confirm: Confirm | None = None
    local: Local = Local()
    cluster: Cluster = Cluster()
    register_: Register | None = Field(default=None, alias="register")
    track: TrackSection = ()

    @model_validator(mode="after")
    def _written(self) -> Self:
        try:
            size = len(self.model_dump_json())
        except (PydanticSerializationError, RecursionError) as error:
            raise ValueError(f"cannot be written as JSON ({error})") from error
        if size > MAX_JSON:
            raise ValueError(
                f"is too large for the ConfigMaps and run folders that hold it: at most "
                f"{MAX_JSON:,} characters as JSON, and it has {size:,}"
            )
        return self

    @property
    def selection_rule(self) -> Select:
        """The rule that chooses the winner: where the file has none, best or knee."""
        if self.select is not None:
            return self.select
        return SelectBest(rule="best") if len(self.objective) == 1 else SelectKnee(rule="knee")

    @property
    def reads(self) -> frozenset[str]:
        """The metrics that the objectives and constraints need."""
        names = (o.reads for o in self.objective)
        return frozenset().union(*names, *(Constraint(c).names for c in self.constraints))

    @property
    def problem(self) -> Problem:
        """What search/ knows of the experiment."""
        first = self.found_baseline().values
        search = self.chosen_search
        if first is not None:
            others = (each for each in search.start if self.space.active(each) != first)
            search = search.model_copy(update={"start": (first, *others)})
        return Problem(
            name=self.name,
            space=self.space,
            objective=self.objective,
            search=search,
            baseline=first,
            trials=self.budget.trials,
            constraints=self.constraints,
            stopping=self.chosen_stopping,
            rules=self._rules,
            longest=self.longest_training(),
        )

    @property
    def chosen_search(self) -> AnySearch:
        """The search algorithm: what `auto` stands for, or else the one that the file names."""
        return chosen_search(self.search, self._shape)[0]

    @property
    def chosen_stopping(self) -> Stopping:
        """The stopping rule: what `auto` stands for, or else the one that the file names."""
        return self._stopping()[0]

    def choices(self) -> dict[str, str]:
        """Return what `auto` stands for in `search` and `stopping`, and why, in words."""
        search, why = chosen_search(self.search, self._shape)
        rule, reason = self._stopping()
        found = {"search": (search.algorithm, why), "stopping": (rule.algorithm, reason)}
        return {section: f"{name} ({given})" for section, (name, given) in found.items() if given}

    def _stopping(self) -> tuple[Stopping, str | None]:
        longest = self.longest_training()
        count = len(self.objective)
        return chosen_stopping(self.stopping, self.search, objectives=count, longest=longest)

    def found_baseline(self, defaults: Mapping[str, Value] | None = None) -> Baseline:
        """Return the baseline, or why there is none.

        Args:
            defaults: what the config of the base model has, by names of the space; a run knows
                them from its start on (jobs/baseline.py).
        """
        setting = Setting(
            self.space, self.task, self.search, self.serve, self._rules, self.budget.trials
        )
        return baseline_of(self.baseline, setting, defaults)

    @property
    def _rules(self) -> Rules:
        return bound(self.space_rules, self.space, known_values(self.task, self.serve))

    @property
    def _shape(self) -> Shape:
        budget, count = self.budget, len(self.objective)
        stops = self.chosen_stopping.algorithm != "none"
        return Shape(
            self.space, count, budget.trials, budget.parallel, stops=stops, rules=self._rules
        )

    def to_json(self) -> str:
        """Return the experiment as JSON, which `load` reads back to an equal one."""
        return self.model_dump_json(by_alias=True, indent=2)

    def identity(self) -> str:
        """Return a hash of all that decides which trials are run and what they yield.

        Budget, baseline, selection, confirmation, engine, registration and trackers are left out:
        a run may resume with more trials, and its winner may be selected again. Entries at their
        defaults are left out too, so that a version with new entries resumes runs of the one
        before it.
        """
        later = {"budget", "baseline", "select", "confirm", "local", "cluster", "register_"}
        later |= {"track"}
        content = self.model_dump(mode="json", exclude=later, exclude_defaults=True)
        content["task"].pop("checkpoint", None)  # it changes nothing of what a trial yields
        if self.search.population_size is not None:
            content["trials"] = self.budget.trials  # they decide how far each trial trains
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def longest_training(self) -> int | None:
        """Return the most evaluations (or epochs) of any trial, or None where that is unknown.

        It is where steps decide, or the epochs are not numbers, which checks/ refuses.
        """
        training = self.task.training
        counts_epochs = getattr(self.stopping, "resource", "evaluation") == "epoch"
        if "max_steps" in training or "max_steps" in self.space:
            return None
        if training.get("eval_strategy", "epoch") != "epoch" and not counts_epochs:
            return None if "eval_steps" in self.space else evaluations(training, epochs=1)
        if "num_train_epochs" in self.space:
            values = bounds(self.space, "num_train_epochs")
        else:
            values = [training.get("num_train_epochs", 3)]
        epochs = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
        return None if len(epochs) < len(values) else math.ceil(max(epochs))

    def max_length(self) -> int:
        """Return the longest input, in tokens, that any trial asks for."""
        if "task.max_length" not in self.space:
            return self.task.max_length
        return max(int(v) for v in bounds(self.space, "task.max_length"))


def bounds(space: Space, name: str) -> list[Value]:
    """Return values that span a parameter: both ends of a range, or all choices."""
    parameter = space[name]
    if parameter.type == "choice":
        return list(parameter.values)
    return [parameter.low, parameter.high]
