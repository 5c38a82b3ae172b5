"""The section `stopping`: the settings of each early-stopping rule.

What the rules compute is in search/pruners.py.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from hpo_pipeline.experiment.space import Count, Frozen, PlainValue
from hpo_pipeline.experiment.stock import KatibName, Named

Resource = Literal["evaluation", "epoch"]
ROWS = "rows"


class AnyStopping(Frozen):
    """What every stopping rule has.

    `ranks` says whether it serves several objectives, by the Pareto rank of each trial.
    """

    ranks: ClassVar[bool] = True

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


class PercentileStopping(AnyStopping):
    """As median, but a trial must be among the best `percentile` per cent to continue."""

    algorithm: Literal["percentile"]
    percentile: Annotated[float, Field(gt=0, lt=100)] = 50.0
    min_trials: Count = 3
    start_step: Count = 1


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


class HyperbandStopping(AnyStopping):
    """Successive halving in brackets with different grace periods."""

    algorithm: Literal["hyperband"]
    resource: Resource = "evaluation"
    grace_period: Count = 1
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    max_resource: Count | None = None


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
