"""The Gaussian process of Optuna, at a bounded cost, with what curves will still reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import GPSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import norm

from hpo_pipeline.experiment.rules.region import Region
from hpo_pipeline.search.acquisition import best_kept
from hpo_pipeline.search.earlier import for_models
from hpo_pipeline.search.pruners import sign_of
from hpo_pipeline.search.unfinished import forecast_trials, study_of, with_value


class BoundedGPSampler(GPSampler):
    """Optuna's Gaussian process, fitted on a bounded number of trials, unfinished ones included.

    The fit is cubic in the trials. Beyond the bound half of it are the best trials, around which
    the optimum is looked for, and half are taken evenly from first to last of the others, which
    tell where it is not.

    Optuna's ignores stopped trials, and so proposes again and again what a stopping rule has just
    found to be bad. Here each counts with what its curve would have reached (forecast.py), and so
    do running ones once they have two evaluations. Values below the median are drawn near
    (`warped`), so that the process spends its resolution on the good ones.
    """

    def __init__(self, *, max_fitted: int, region: Region | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._max_fitted = max_fitted
        self._region = region

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the point of the greatest expected gain."""
        small = self._bounded(study, trial)
        # Optuna's leaves a note at the trial that it asks for: give it that of the small study.
        itself = small.get_trials(deepcopy=False)[-1]
        return super().sample_relative(small, itself, search_space)

    def _optimize_acqf(self, acqf: Any, best_params: Any) -> Any:
        """Return the best point of the acquisition function, among those that keep the rules."""
        if best_params is not None:  # that of an earlier search may be outside of the space
            best_params = np.clip(best_params, 0, None)
            numbers = [not c for c in acqf.search_space.is_categorical]
            best_params[:, numbers] = np.minimum(best_params[:, numbers], 1)
        if self._region is None:
            return super()._optimize_acqf(acqf, best_params)
        found = best_kept(self._region, acqf, best_params, self._rng.rng)
        return super()._optimize_acqf(acqf, best_params) if found is None else found

    def _bounded(self, study: Study, trial: FrozenTrial) -> Study:
        """Return a study of the trials to fit, `trial` the last."""
        others = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        known = [t for t in others if t.state == TrialState.COMPLETE]
        if len(study.directions) == 1:
            seen = [*known, *forecast_trials(study, others)]
            known = warped(study, for_models(study, seen, beyond=True))
        taken = {t.number for t in known}
        running = [t for t in others if t.state == TrialState.RUNNING and t.number not in taken]
        return study_of(study, [*self._chosen(study, known), *running, trial])

    def _chosen(self, study: Study, known: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Return the trials to fit on."""
        if len(known) <= self._max_fitted:
            return list(known)
        front = {t.number for t in study.best_trials} if len(study.directions) > 1 else set()
        sign = sign_of(study)

        def badness(trial: FrozenTrial) -> tuple[bool, bool, float]:
            misses = any(v > 0 for v in trial.constraints.values())
            return (misses, trial.number not in front, -sign * trial.values[0])

        best = sorted(known, key=badness)[: self._max_fitted // 2]
        taken = {t.number for t in best}
        others = [t for t in known if t.number not in taken]
        even = np.linspace(0, len(others) - 1, min(len(others), self._max_fitted // 2))
        return [*best, *(others[round(place)] for place in even)]


def warped(study: Study, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return trials whose values below the median follow a normal distribution by their rank.

    The half-rank warping of the Vizier Gaussian process bandit (Song et al., 2024): bad values
    would otherwise decide the scale on which good ones hardly differ.
    """
    sign = sign_of(study)
    values = np.array([sign * t.values[0] for t in trials])
    if len(values) < 3 or np.ptp(values) == 0:
        return list(trials)
    middle = float(np.median(values))
    above = values[values >= middle] - middle
    size = float(np.sqrt(np.mean(above**2)))
    order = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    ranked = middle + size * norm.ppf((order + 0.5) / len(values))
    found = np.where(values >= middle, values, np.minimum(ranked, middle))
    return [with_value(t, sign * float(v)) for t, v in zip(trials, found, strict=True)]
