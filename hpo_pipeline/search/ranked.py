"""Learning curves of several objectives as curves of one: the front that a trial is on.

At each step the trials that came as far are sorted into fronts, none of whose members another one
dominates (NSGA-II's non-dominated rank), and a trial's value is the number of its front, the first
the best. The stopping rules compare these as they compare the values of one objective. Optuna keeps
no curves of several objectives, so theirs are user attributes of the trials.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hpo_pipeline.results.ranking import fronts

Vector = tuple[float, ...]
Vectors = Mapping[int, Vector]
STOPPED = "stopped"
"""User attribute of a trial that was stopped: with several objectives Optuna prunes none."""
_AT = "objectives:"


def keep(study: Study, trial: FrozenTrial, step: int, vector: Vector) -> None:
    """Keep what a trial had at a step, each objective signed so that more is better."""
    key = f"{_AT}{step}"
    if key not in trial.user_attrs:
        study._storage.set_trial_user_attr(trial._trial_id, key, list(vector))


def kept(trial: FrozenTrial) -> dict[int, Vector]:
    """Return what a trial had at each of its steps."""
    found = {n: v for n, v in trial.user_attrs.items() if n.startswith(_AT)}
    return {int(name.removeprefix(_AT)): tuple(vector) for name, vector in found.items()}


def ranked(study: Study, number: int, curve: Vectors) -> tuple[Study, FrozenTrial]:
    """Return a study in which trials have one objective, and one of its trials.

    Args:
        number: of the trial in the study.
        curve: what the trial had, to be taken in place of what is kept of it.
    """
    trials = study.get_trials(deepcopy=False)
    curves = {t.number: kept(t) for t in trials if t.state != TrialState.FAIL}
    curves[number] = dict(curve)
    ranks: dict[int, dict[int, float]] = {t.number: {} for t in trials}
    for step in sorted({step for vectors in curves.values() for step in vectors}):
        members = [n for n, vectors in curves.items() if step in vectors]
        for place, front in enumerate(fronts([curves[n][step] for n in members])):
            for i in front:
                ranks[members[i]][step] = -float(place)
    single = optuna.create_study(study_name=study.study_name, direction="maximize")
    single.add_trials([_as_ranked(t, ranks[t.number]) for t in trials])
    found = copy.copy(single.get_trials(deepcopy=False)[number])
    return single, found


def _as_ranked(trial: FrozenTrial, values: Mapping[int, float]) -> FrozenTrial:
    found = copy.copy(trial)
    is_complete = trial.state == TrialState.COMPLETE
    if is_complete and STOPPED in trial.user_attrs:
        found.state = TrialState.PRUNED
    found.values = [values[max(values)] if values else 0.0] if is_complete else None
    found.intermediate_values = dict(values)
    return found
