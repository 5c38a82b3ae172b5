"""A search problem, and what every algorithm has: its section, its traits, and its sampler.

Nothing here imports Optuna: a section builds its sampler when the search asks for one.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from hpo_pipeline.experiment.objective import Objective
from hpo_pipeline.experiment.rules import NO_RULES, Rules
from hpo_pipeline.experiment.rules.region import region_of
from hpo_pipeline.experiment.space import Frozen, PlainValue, Space, Value, as_tuple
from hpo_pipeline.experiment.stopping import NO_STOPPING, Stopping
from hpo_pipeline.experiment.uris import Uri

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

Probability = Annotated[float, Field(ge=0, le=1)]
Objectives = Literal["one", "several", "any"]
MAX_START = 1_000
MAX_EARLIER = 100


class NoSettings(Frozen):
    """An algorithm with nothing to set."""


class AnySearch(Frozen):
    """The settings of every search algorithm, and the traits of an algorithm.

    `start` lists configurations to try first; `warm_start` names earlier runs or registered
    models whose trials the algorithm learns from. `prior` has values of parameters that the user
    believes to be good: early trials are drawn around them.

    The class variables are the traits. Everything outside an algorithm's own file (checks,
    Katib's list, the table in the docs) asks for traits, never for a name.
    """

    objectives: ClassVar[Objectives] = "any"
    """How many objectives it serves."""
    learns_from_earlier: ClassVar[bool] = False
    """Whether trials of other searches (`warm_start`) help it."""
    needs_numbers: ClassVar[int] = 0
    """How many parameters must be numbers at least."""
    keeps_notes: ClassVar[bool] = False
    """Whether it keeps notes in the study beside the trials' parameters and values."""
    knows_conditions: ClassVar[bool] = True
    """Whether parameters may depend on others (`when`)."""
    knows_rules: ClassVar[bool] = True
    """Whether its proposals keep the rules between parameters (`space_rules`)."""
    is_exhaustible: ClassVar[bool] = False
    """Whether it tries each point of the space once, which then must be countable."""
    has_population: ClassVar[bool] = False
    """Whether it trains a population whose configurations change on the way."""
    is_choice: ClassVar[bool] = False
    """Whether it stands for another one, which the experiment decides."""
    instead: ClassVar[str] = "random or tpe"
    """What to use where it cannot serve a space or objectives."""
    service: ClassVar[str | None] = "suggestion"
    """The image that serves it behind a name in Katib; None where Katib has it by itself."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    start: Annotated[
        tuple[dict[str, PlainValue], ...], Field(max_length=MAX_START), BeforeValidator(as_tuple)
    ] = ()
    warm_start: Annotated[
        tuple[Uri, ...], Field(max_length=MAX_EARLIER), BeforeValidator(as_tuple)
    ] = ()
    prior: dict[str, PlainValue] = {}
    algorithm: str
    settings: Any = NoSettings()

    @abstractmethod
    def sampler(self, problem: Problem, number: int) -> BaseSampler:
        """Return the sampler that suggests the configuration of trial `number`.

        It is built for each trial separately: whatever it knows must be in the study, so that a
        search resumes after a crash as if nothing had happened, on any engine.
        """

    @property
    def population_size(self) -> int | None:
        """The members of a population whose configurations change while they train, or None."""
        return None

    def seed_of(self, number: int) -> int:
        """Return the seed for one trial."""
        # An odd multiplier spreads neighbouring numbers over all seeds and keeps them distinct.
        return (self.seed + 2_654_435_761 * (number + 1)) % 2**32


def size(space: Space, rules: Rules) -> int | None:
    """Return how many configurations of a space keep the rules; None where that is not known.

    That is where a parameter is continuous, or there are too many ways in which they combine.
    """
    if not rules:
        return space.size()
    return region_of(space, rules).size()


@dataclass(frozen=True)
class Problem:
    """What a search optimises: all that search/ needs of an experiment.

    `trials` is how many the search will have in all; `longest` the most evaluations (or epochs)
    of any trial, or None where that is unknown. The `baseline`, where there is one, is the first
    configuration of `search.start`, and no rule stops it.
    """

    name: str
    space: Space
    objective: tuple[Objective, ...]
    search: AnySearch
    trials: int
    constraints: tuple[str, ...] = ()
    stopping: Stopping = NO_STOPPING
    rules: Rules = NO_RULES
    longest: int | None = None
    baseline: Mapping[str, Value] | None = None

    def size(self) -> int | None:
        """Return how many configurations there are; None where that cannot be counted."""
        return size(self.space, self.rules)

    def broken(self, assignments: Mapping[str, Value]) -> list[str]:
        """Return the rules that a configuration of the space breaks."""
        return region_of(self.space, self.rules).broken(assignments) if self.rules else []

    @property
    def population_size(self) -> int | None:
        """The members of the search's population, or None where it has none."""
        return self.search.population_size


Table = Mapping[str, type[AnySearch]]


def from_search(name: str) -> Any:
    """Return a sampler class of ours, `module:class` in search/.

    It is found by name, because search/ is a layer above this folder.
    """
    module, _, attribute = name.partition(":")
    return getattr(import_module(f"hpo_pipeline.search.{module}"), attribute)
