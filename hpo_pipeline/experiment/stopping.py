"""The section `stopping`: the settings of each early-stopping rule.

What the rules compute is in search/pruners.py.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from hpo_pipeline.experiment.space import Count, Frozen, PlainValue
from hpo_pipeline.experiment.stock import KatibName, Named

Resource = Literal["evaluation", "epoch"]


class AnyStopping(Frozen):
    """What every stopping rule has.

    `ranks` says whether it serves several objectives, by the Pareto rank of each trial.
    """

    ranks: ClassVar[bool] = True


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
    """

    algorithm: Literal["asha"]
    resource: Resource = "evaluation"
    grace_period: Count = 1
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    max_resource: Count | None = None


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


DEFAULT_STOPPING = AutoStopping(algorithm="auto")
NO_STOPPING = NoStopping(algorithm="none")
RULES: tuple[str, ...] = tuple(
    get_args(kind.model_fields["algorithm"].annotation)[0]
    for kind in get_args(Stopping)
    if kind not in (StockStopping, AutoStopping)
)
"""The names of our own rules."""
