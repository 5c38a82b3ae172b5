"""Trials that did not come to their end, as the models of samplers take them.

Optuna's samplers pass stopped trials over, or rank them by how far they came. Here they count with
what their curves would have reached (forecast.py).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hpo_pipeline.search.pruners import finite_curve, forecaster, sign_of


def forecast_trials(study: Study, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the unfinished trials with the values that they would have reached.

    One that runs counts from its second evaluation on, unless there are constraints, of which
    nothing is known before its end. Stopped ones of which nothing can be forecast count with their
    best.
    """
    model = forecaster(study, trials)
    are_bound = any(t.constraints for t in trials)
    found = []
    for trial in trials:
        curve = finite_curve(study, trial)
        is_stopped = trial.state == TrialState.PRUNED
        is_running = trial.state == TrialState.RUNNING and len(curve) > 1 and not are_bound
        forecast = model.forecast(curve) if is_stopped or is_running else None
        if forecast is not None:
            found.append(with_value(trial, sign_of(study) * forecast.mean))
        elif is_stopped and curve:
            found.append(with_value(trial, sign_of(study) * max(curve.values())))
    return found


def study_of(study: Study, trials: Sequence[FrozenTrial]) -> Study:
    """Return a study in memory with the objectives of another, and these trials.

    They are not checked: values may be outside of the space, where only a model sees them.
    """
    small = optuna.create_study(directions=study.directions)
    for trial in trials:
        small._storage.create_new_trial(small._study_id, template_trial=trial)
    return small


def with_value(trial: FrozenTrial, value: float) -> FrozenTrial:
    """Return a trial as if it had completed with a value."""
    known = copy.copy(trial)
    known.state = TrialState.COMPLETE
    known.values = [value]
    known.datetime_complete = trial.datetime_complete or trial.datetime_start
    return known
