"""The Gaussian process of Optuna, at a bounded cost."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import GPSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpo_pipeline.experiment.rules.region import Region
from hpo_pipeline.search.acquisition import best_kept


class BoundedGPSampler(GPSampler):
    """Optuna's Gaussian process, fitted on a bounded number of trials, stopped ones included.

    The fit is cubic in the trials. Beyond the bound half of it are the best trials, around which
    the optimum is looked for, and half are taken evenly from first to last of the others, which
    tell where it is not. Optuna's ignores stopped trials, and so proposes again and again
    what a stopping rule has just found to be bad: here each counts with the best value that it
    reached.
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
        if small is None:
            return super().sample_relative(study, trial, search_space)
        # Optuna's leaves a note at the trial that it asks for: give it that of the small study.
        itself = small.get_trials(deepcopy=False)[-1]
        return super().sample_relative(small, itself, search_space)

    def _optimize_acqf(self, acqf: Any, best_params: Any) -> Any:
        """Return the best point of the acquisition function, among those that keep the rules."""
        if self._region is None:
            return super()._optimize_acqf(acqf, best_params)
        found = best_kept(self._region, acqf, best_params, self._rng.rng)
        return super()._optimize_acqf(acqf, best_params) if found is None else found

    def _bounded(self, study: Study, trial: FrozenTrial) -> Study | None:
        """Return a study of the trials to fit, `trial` the last; None where it would be `study`."""
        ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        known = [k for t in ended if (k := _with_value(t, study.directions)) is not None]
        are_complete = all(t.state == TrialState.COMPLETE for t in ended)
        if len(known) <= self._max_fitted and are_complete:
            return None
        front = {t.number for t in study.best_trials} if len(study.directions) > 1 else set()
        sign = -1 if study.directions[0] == StudyDirection.MAXIMIZE else 1

        def badness(trial: FrozenTrial) -> tuple[bool, bool, float]:
            misses = any(v > 0 for v in trial.constraints.values())
            return (misses, trial.number not in front, sign * trial.values[0])

        best = sorted(known, key=badness)[: self._max_fitted // 2]
        taken = {t.number for t in best}
        others = [t for t in known if t.number not in taken]
        even = np.linspace(0, len(others) - 1, min(len(others), self._max_fitted // 2))
        others = [others[round(place)] for place in even]
        small = optuna.create_study(directions=study.directions)
        small.add_trials([*best, *others])
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        small.add_trials([*(t for t in running if t.number != trial.number), trial])
        return small


def _with_value(trial: FrozenTrial, directions: list[StudyDirection]) -> FrozenTrial | None:
    """Return a trial that has a value: a stopped one gets the best of its curve, if any."""
    if trial.state == TrialState.COMPLETE:
        return trial
    values = [v for v in trial.intermediate_values.values() if math.isfinite(v)]
    if not values:
        return None
    known = copy.copy(trial)
    known.state = TrialState.COMPLETE
    known.values = [max(values) if directions[0] == StudyDirection.MAXIMIZE else min(values)]
    return known
