"""A run as a study of Optuna, for its plots and importances, or a search of the user's own."""

from __future__ import annotations

import math
from collections.abc import Sequence

import optuna
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, create_trial

from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.trial import Trial, TrialState
from hpo_pipeline.search.distributions import distributions

_STATES = {
    TrialState.SUCCEEDED: optuna.trial.TrialState.COMPLETE,
    TrialState.STOPPED: optuna.trial.TrialState.PRUNED,
    TrialState.FAILED: optuna.trial.TrialState.FAIL,
}
"""Of the trials that have ended; a trial without a value counts as failed."""


def study_of(experiment: Experiment, trials: Sequence[Trial]) -> optuna.Study:
    """Return a study in memory with the trials that have ended, by number.

    A trial's metrics and its name are user attributes; its curve is that of the only objective.
    """
    study = optuna.create_study(
        study_name=experiment.name,
        storage=InMemoryStorage(),
        directions=[StudyDirection[o.goal.upper()] for o in experiment.objective],
    )
    ended = [trial for trial in trials if trial.state in _STATES]
    study.add_trials([_frozen(experiment, t) for t in sorted(ended, key=lambda t: t.number)])
    return study


def _frozen(experiment: Experiment, trial: Trial) -> FrozenTrial:
    known = distributions(experiment.space)
    params = {name: value for name, value in trial.assignments.items() if name in known}
    values = [objective.value(trial.metrics) for objective in experiment.objective]
    state = _STATES[trial.state]
    if state is optuna.trial.TrialState.COMPLETE and not all(map(math.isfinite, values)):
        state = optuna.trial.TrialState.FAIL
    is_complete = state is optuna.trial.TrialState.COMPLETE
    return create_trial(
        state=state,
        params=params,
        distributions={name: known[name] for name in params},
        values=values if is_complete else None,
        user_attrs={"name": trial.name, **trial.metrics},
        intermediate_values=_curve(experiment, trial),
    )


def _curve(experiment: Experiment, trial: Trial) -> dict[int, float]:
    if len(experiment.objective) != 1:
        return {}
    found = {p.step: experiment.objective[0].value(p.metrics) for p in trial.curve}
    return {step: value for step, value in found.items() if math.isfinite(value)}
