"""The tree-structured Parzen estimator of Optuna, with forecasts of trials and with rules."""

from __future__ import annotations

from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hpo_pipeline.experiment.rules.drawing import several
from hpo_pipeline.experiment.rules.nearest import nearest
from hpo_pipeline.experiment.rules.region import Region
from hpo_pipeline.search.earlier import EARLIER, for_models
from hpo_pipeline.search.unfinished import forecast_trials, study_of

MOST = 150
MAX_BAD = 500
"""Trials that the density of the bad ones is made of, beside the newest, which are all in it.

All of ten thousand would make each proposal wait for a sixth of a second.
"""
NEWEST = 50
MAX_DRAWN = 2_000
_DRAWN, _REPAIRED = 128, 4


class ForecastTpeSampler(TPESampler):
    """Optuna's, where unfinished trials count with what their curves would have reached.

    Optuna's ranks stopped trials by how far they came, behind all that completed, and takes those
    that run for bad. Above MOST trials there are enough that completed.
    """

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return a configuration from the density of the good trials."""
        others = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        if len(others) > MOST or len(study.directions) > 1:
            return super().sample_relative(study, trial, search_space)
        complete = [t for t in others if t.state == TrialState.COMPLETE]
        if len(complete) == len(others) and not any(EARLIER in t.user_attrs for t in others):
            return super().sample_relative(study, trial, search_space)
        seen = for_models(study, [*complete, *forecast_trials(study, others)])
        known = {t.number: t for t in seen}
        small = study_of(study, [*(known.get(t.number, t) for t in others), trial])
        return super().sample_relative(small, small.get_trials(deepcopy=False)[-1], search_space)

    def _build_parzen_estimator(
        self, study: Study, search_space: Any, trials: list[FrozenTrial], handle_below: bool
    ) -> _ParzenEstimator:
        if not handle_below:
            trials = thinned(trials)
        return super()._build_parzen_estimator(study, search_space, trials, handle_below)


def thinned(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Return the newest trials, and of the others some from all ages."""
    older, newest = trials[:-NEWEST], trials[-NEWEST:]
    return [*older[:: max(1, -(-len(older) // MAX_BAD))], *newest]


class RuledTpeSampler(ForecastTpeSampler):
    """Optuna's, with candidates drawn from the density of good trials until enough keep the rules.

    Drawn anew only after the best of 24 candidates broke a rule, hardly any proposal would come
    through where few configurations keep the rules. Where none of MAX_DRAWN does, configurations
    that do are the candidates: some drawn as in random search, some nearest to what was drawn.
    """

    def __init__(self, region: Region, **arguments: Any) -> None:
        super().__init__(**arguments)

        class Kept(_ParzenEstimator):
            """A density of which only what keeps the rules is drawn."""

            def sample(self, rng: np.random.RandomState, size: int) -> dict[str, Any]:
                """Return candidates; any, where none that keeps the rules was found."""
                return _sampled(super().sample, region, rng, size)

        self._parzen_estimator_cls = Kept


def _sampled(sample: Any, region: Region, random: Any, size: int) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    first: dict[str, Any] = {}
    drawn, kept, batch = 0, 0, size
    while kept < size and drawn < MAX_DRAWN:
        rows = sample(random, batch)
        first = first or rows
        mask = region.mask(_places(region, rows, batch))
        if mask.any():
            found.append({name: column[mask] for name, column in rows.items()})
        drawn, kept = drawn + batch, kept + int(mask.sum())
        batch = min(4 * batch, MAX_DRAWN // 2)
    if not found:
        return _others(region, first, np.random.default_rng(random.randint(2**31, size=4)))
    return {name: np.concatenate([rows[name] for rows in found])[:size] for name in first}


def _others(region: Region, wishes: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Return candidates that keep the rules, where none of those drawn does."""
    drawn = several(region, rng, _DRAWN)
    if drawn is None:
        return wishes
    count = min(_REPAIRED, len(next(iter(wishes.values()))))
    wished = _places(region, wishes, len(next(iter(wishes.values()))))
    near = (nearest(region, region.assignments(wished, i), rng) for i in range(count))
    repaired = region.places([point for point in near if point is not None], region.space)
    return {
        name: _internal(region, name, np.concatenate([drawn[name], repaired[name]]))
        for name in wishes
    }


def _places(region: Region, rows: dict[str, Any], size: int) -> dict[str, Any]:
    """Return rows of Optuna's internal numbers as places."""
    places = {}
    for name in region.space:
        parameter = region.space[name]
        if name not in rows:  # a choice of one value
            places[name] = np.zeros(size)
        elif parameter.type == "choice" or parameter.step is None:
            places[name] = np.asarray(rows[name], float)
        else:
            values = np.asarray(rows[name], float)
            places[name] = np.round((values - parameter.low) / parameter.step)
    return places


def _internal(region: Region, name: str, places: Any) -> Any:
    """Return places as Optuna's internal numbers."""
    return places if region.space[name].type == "choice" else region.axes[name].column(places)
