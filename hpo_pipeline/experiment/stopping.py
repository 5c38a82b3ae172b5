"""The section `stopping`: the settings of each early-stopping rule.

What the rules compute is in search/pruners.py. How much of the training each leaves was measured on
the recorded studies (benchmarks/README.md); a run differs by a fifth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from hpo_pipeline.experiment.space import Count, Frozen, PlainValue
from hpo_pipeline.experiment.stock import KatibName, Named

Resource = Literal["evaluation", "epoch"]
ROWS = "rows"
ENDED_BY_MEDIAN, ENDED_BY_FORECAST = 0.45, 0.6
"""Of the trials that are judged, how many end, nearly all of them at once."""
PROMOTED = 1.35
"""For one in `reduction_factor`, how many really continue: the first have few to compare with."""


@dataclass(frozen=True)
class PlannedSearch:
    """What decides how much of the training a rule leaves.

    Attributes:
        evaluations: of a whole trial.
        trials: of the budget.
        parallel: how many run side by side.
    """

    evaluations: int
    trials: int
    parallel: int


class AnyStopping(Frozen):
    """What every stopping rule has.

    `ranks` says whether it serves several objectives, by the Pareto rank of each trial.
    """

    ranks: ClassVar[bool] = True

    def share_left(self, search: PlannedSearch) -> float:
        """Return the share of the training of all trials that is left, on the mean."""
        return 1.0

    @property
    def row_parts(self) -> tuple[int, ...]:
        """How many parts of the rows a trial trains on first, time and again; empty without."""
        return ()

    @property
    def all_parts(self) -> int:
        """How many parts are all rows, where there are parts."""
        return 1

    @property
    def row_shares(self) -> tuple[float, ...]:
        """The shares of the training rows that a trial trains on before it trains on all."""
        return tuple(parts / self.all_parts for parts in self.row_parts)


class NoStopping(AnyStopping):
    """No trial is stopped early."""

    algorithm: Literal["none"]


class MedianStopping(AnyStopping):
    """A trial ends where its best is worse than the median of the others' running averages."""

    algorithm: Literal["median"]
    min_trials: Count = 3
    start_step: Count = 1

    def share_left(self, search: PlannedSearch) -> float:
        """Return the share of the training that is left, on the mean."""
        return _with_whole(self, search, ENDED_BY_MEDIAN)


class PercentileStopping(AnyStopping):
    """As median, but a trial must be among the best `percentile` per cent to continue."""

    algorithm: Literal["percentile"]
    percentile: Annotated[float, Field(gt=0, lt=100)] = 50.0
    min_trials: Count = 3
    start_step: Count = 1

    def share_left(self, search: PlannedSearch) -> float:
        """Return the share of the training that is left, on the mean."""
        return _with_whole(self, search, min(1.0, ENDED_BY_MEDIAN * (2 - self.percentile / 50)))


class AshaStopping(AnyStopping):
    """Asynchronous successive halving.

    A trial is judged when it has used `grace_period` of the resource, then `reduction_factor`
    times as much, and so on: the best one in `reduction_factor` continues. At `max_resource`,
    where it is set, every trial ends.

    With `rows` as the resource a trial is trained on `grace_period` parts of the training rows,
    then anew on `reduction_factor` times as many, and so on; `max_resource` parts (by default
    `reduction_factor` squared, or more with a longer grace period) are all rows.
    """

    algorithm: Literal["asha"]
    resource: Literal["evaluation", "epoch", "rows"] = "evaluation"
    grace_period: Count = 1
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    max_resource: Count | None = None

    @property
    def all_parts(self) -> int:
        """How many parts are all rows."""
        return self.max_resource or self.grace_period * self.reduction_factor**2

    @property
    def row_parts(self) -> tuple[int, ...]:
        """How many parts of the rows a trial trains on first, time and again; empty without."""
        if self.resource != ROWS:
            return ()
        found, parts = [], self.grace_period
        while parts * self.reduction_factor <= self.all_parts:
            found.append(parts)
            parts *= self.reduction_factor
        return tuple(found)

    def share_left(self, search: PlannedSearch) -> float:
        """Return the share of the training that is left, on the mean."""
        if self.row_parts:
            shares = (*self.row_shares, 1.0)
            continued = PROMOTED / self.reduction_factor
            spent = sum(share * continued**i for i, share in enumerate(shares))
            return spent / sum(shares)
        return _halved(self, self.grace_period, search.evaluations)


class HyperbandStopping(AnyStopping):
    """Successive halving in brackets with different grace periods."""

    algorithm: Literal["hyperband"]
    resource: Resource = "evaluation"
    grace_period: Count = 1
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    max_resource: Count | None = None

    def share_left(self, search: PlannedSearch) -> float:
        """Return the share of the training that is left, on the mean."""
        factor, end = self.reduction_factor, _end(self, search.evaluations)
        periods = [self.grace_period]
        while periods[-1] * factor < end:
            periods.append(periods[-1] * factor)
        # A bracket gets so many times as many trials as the next, which are trained longer.
        sizes = [float(factor) ** -i for i in range(len(periods))]
        lefts = [_halved(self, period, search.evaluations) for period in periods]
        return sum(size * left for size, left in zip(sizes, lefts, strict=True)) / sum(sizes)


class PatienceStopping(AnyStopping):
    """A trial ends where `patience` evaluations in a row brought no gain of `min_delta`."""

    ranks: ClassVar[bool] = False

    algorithm: Literal["patience"]
    patience: Count = 3
    min_delta: Annotated[float, Field(ge=0)] = 0.0


class ThresholdStopping(AnyStopping):
    """A trial ends where its objective is below `lower` or above `upper`."""

    ranks: ClassVar[bool] = False

    algorithm: Literal["threshold"]
    lower: float | None = None
    upper: float | None = None
    start_step: Count = 1


class ForecastStopping(AnyStopping):
    """A trial ends where its curve will hardly beat the best trial so far.

    What a curve will reach is forecast from the curves of the completed trials, with its
    uncertainty; a trial ends once its chance to beat the best is below `chance`.
    """

    ranks: ClassVar[bool] = False

    algorithm: Literal["forecast"]
    chance: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    min_trials: Count = 2
    start_step: Annotated[int, Field(ge=2)] = 2

    def share_left(self, search: PlannedSearch) -> float:
        """Return the share of the training that is left, on the mean."""
        return _ended(ENDED_BY_FORECAST, self.start_step, search.evaluations)


class AutoStopping(AnyStopping):
    """The rule that suits the trials; see docs/strategies.md for how it is chosen."""

    algorithm: Literal["auto"]


class StockStopping(AnyStopping):
    """A stopping rule of the Katib at hand, by its Katib name; only the Katib engine has it."""

    ranks: ClassVar[bool] = False

    algorithm: Literal["katib"]
    name: KatibName
    settings: dict[str, PlainValue] = {}


Stopping = (
    NoStopping
    | MedianStopping
    | AshaStopping
    | HyperbandStopping
    | PercentileStopping
    | PatienceStopping
    | ThresholdStopping
    | ForecastStopping
    | AutoStopping
    | StockStopping
)


StoppingSection = Annotated[Annotated[Stopping, Field(discriminator="algorithm")], Named("auto")]


def _with_whole(
    rule: MedianStopping | PercentileStopping, search: PlannedSearch, share: float
) -> float:
    """Return what is left where some first trials are whole, which the others are judged by."""
    whole = min(search.trials, rule.min_trials + search.parallel - 1)
    left = _ended(share, rule.start_step, search.evaluations)
    return (whole + (search.trials - whole) * left) / max(1, search.trials)


def _ended(share: float, step: int, evaluations: int) -> float:
    """Return what is left of trainings of which a share ends at a step."""
    return 1 - share * (1 - min(1.0, step / evaluations))


def _halved(rule: AshaStopping | HyperbandStopping, grace_period: int, evaluations: int) -> float:
    """Return what successive halving leaves of trainings of so many evaluations."""
    factor, end = rule.reduction_factor, _end(rule, evaluations)
    spent, reached, running, rung = 0.0, 0, 1.0, grace_period
    while rung < end:
        spent += running * (rung - reached)
        reached, running, rung = rung, running * min(1.0, PROMOTED / factor), rung * factor
    return (spent + running * (end - reached)) / evaluations


def _end(rule: AshaStopping | HyperbandStopping, evaluations: int) -> int:
    """Return at which evaluation every trial ends."""
    return min(rule.max_resource or evaluations, evaluations)


def rows_in(rows: int, share: float) -> int:
    """Return how many of some rows a share of them is: at least one."""
    return max(1, math.ceil(rows * share - 1e-9))


DEFAULT_STOPPING = AutoStopping(algorithm="auto")
NO_STOPPING = NoStopping(algorithm="none")
RULES: tuple[str, ...] = tuple(
    get_args(kind.model_fields["algorithm"].annotation)[0]
    for kind in get_args(Stopping)
    if kind not in (StockStopping, AutoStopping)
)
"""The names of our own rules."""
