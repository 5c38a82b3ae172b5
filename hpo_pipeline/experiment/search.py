"""The strategies: which search algorithms and stopping rules there are, and what each may be told.

Part of the schema of the experiment file. One frozen model an algorithm, chosen by its name, so
that a setting of another algorithm is refused and editors complete the right ones. How each of
them works is in search/.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from hpo_pipeline.experiment.space import Frozen, PlainValue, as_tuple

Count = Annotated[int, Field(ge=1)]
Probability = Annotated[float, Field(ge=0, le=1)]


class NoSettings(Frozen):
    """An algorithm with nothing to set."""


class TpeSettings(Frozen):
    """Settings of the tree-structured Parzen estimator."""

    startup_trials: Count = 10
    candidates: Count = 24


class GpSettings(Frozen):
    """Settings of Bayesian optimisation with a Gaussian process.

    `max_fitted` bounds the trials that the process is fitted on, whose cost is cubic in them.
    """

    startup_trials: Count = 10
    max_fitted: Annotated[int, Field(ge=20, le=1_000)] = 120


class CmaesSettings(Frozen):
    """Settings of CMA-ES; `sigma` is the first step size, as a share of each range."""

    startup_trials: Count = 1
    sigma: Annotated[float, Field(gt=0, le=1)] | None = None
    population: Annotated[int, Field(ge=4)] | None = None


class GeneticSettings(Frozen):
    """Settings of the genetic algorithms; `mutation` defaults to one over the parameters."""

    population: Annotated[int, Field(ge=2)] = 10
    crossover: Probability = 0.9
    swap: Probability = 0.5
    mutation: Probability | None = None


class PbtSettings(Frozen):
    """Settings of population based training.

    After each interval, members in the worst `exploit_share` copy one of the best
    `exploit_share`. Then each parameter is drawn anew with probability `resample`, or else is
    multiplied or divided by 1 + `perturbation` where its range is log, and moved up or down by
    `perturbation` of its range where it is not; a choice moves to its neighbour or stays.
    """

    population: Annotated[int, Field(ge=2)] = 8
    exploit_share: Annotated[float, Field(gt=0, le=0.5)] = 0.25
    resample: Probability = 0.25
    perturbation: Annotated[float, Field(gt=0, le=4)] = 0.2


class AnySearch(Frozen):
    """What every search algorithm may be told.

    `start` are configurations that are tried first; `warm_start` names earlier runs or
    registered models whose trials the algorithm learns from.
    """

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    start: Annotated[tuple[dict[str, PlainValue], ...], BeforeValidator(as_tuple)] = ()
    warm_start: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = ()


class RandomSearch(AnySearch):
    """Every configuration drawn by itself."""

    algorithm: Literal["random"]
    settings: NoSettings = NoSettings()


class GridSearch(AnySearch):
    """Every point of the space once, in an order that the seed decides."""

    algorithm: Literal["grid"]
    settings: NoSettings = NoSettings()


class QmcSearch(AnySearch):
    """A scrambled Sobol sequence: random search with fewer gaps."""

    algorithm: Literal["qmc"]
    settings: NoSettings = NoSettings()


class TpeSearch(AnySearch):
    """The tree-structured Parzen estimator, multivariate, with constraints."""

    algorithm: Literal["tpe"]
    settings: TpeSettings = TpeSettings()


class GpSearch(AnySearch):
    """Bayesian optimisation with a Gaussian process."""

    algorithm: Literal["gp"]
    settings: GpSettings = GpSettings()


class CmaesSearch(AnySearch):
    """Covariance matrix adaptation; numbers only."""

    algorithm: Literal["cmaes"]
    settings: CmaesSettings = CmaesSettings()


class GeneticSearch(AnySearch):
    """A genetic algorithm for one objective."""

    algorithm: Literal["genetic"]
    settings: GeneticSettings = GeneticSettings()


class Nsga2Search(AnySearch):
    """The genetic algorithm NSGA-II for several objectives."""

    algorithm: Literal["nsga2"]
    settings: GeneticSettings = GeneticSettings()


class PbtSearch(AnySearch):
    """Population based training: configurations change while their models train."""

    algorithm: Literal["pbt"]
    settings: PbtSettings = PbtSettings()


KatibName = Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]{0,20}[a-z0-9])?$")]
STOCK = "katib"
"""In a file `katib:random` stands for `{algorithm: katib, name: random}`: Katib's own random."""


class StockSearch(AnySearch):
    """An algorithm of the Katib at hand, by its Katib name; only the Katib engine has it."""

    algorithm: Literal["katib"]
    name: KatibName
    settings: dict[str, PlainValue] = {}


def _named(default: str) -> BeforeValidator:
    def name(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if "algorithm" not in value:
            return {"algorithm": default, **value}
        kind, colon, stock = str(value["algorithm"]).partition(":")
        is_stock = kind == STOCK and bool(colon)
        return {**value, "algorithm": STOCK, "name": stock} if is_stock else value

    return BeforeValidator(name, json_schema_input_type=Any)


Search = (
    GridSearch
    | RandomSearch
    | QmcSearch
    | TpeSearch
    | GpSearch
    | CmaesSearch
    | GeneticSearch
    | Nsga2Search
    | PbtSearch
    | StockSearch
)
SearchSection = Annotated[Annotated[Search, Field(discriminator="algorithm")], _named("tpe")]
DEFAULT_SEARCH = TpeSearch(algorithm="tpe")
