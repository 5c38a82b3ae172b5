"""Trials of other searches as a search learns from them: in its own space, on one scale.

Their space may have been smaller, larger or elsewhere. What a trial lacks is taken from the middle
of the range where nobody filled it in (flow/warm_start.py does), and a number outside of its range
is kept for the models, which see how things went on beyond it; it is never proposed. Objectives of
other data are normal scores: how good a trial was among those of its own search (Salinas et al.,
ICML 2020).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from statistics import NormalDist

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial

from hpo_pipeline.experiment.algorithms.base import Problem
from hpo_pipeline.experiment.formula import Constraint
from hpo_pipeline.experiment.space import Parameter, Value
from hpo_pipeline.results.ranking import is_usable
from hpo_pipeline.results.trial import SCORED, Trial
from hpo_pipeline.search.pruners import sign_of
from hpo_pipeline.search.unfinished import with_value

EARLIER = "earlier"
"""User attribute of a trial that belongs to another search."""
OUTSIDE = "outside"
"""User attribute: the values that are outside of the space, by parameter."""
LARGE = 1e12


def as_earlier(
    problem: Problem, distributions: Mapping[str, BaseDistribution], trial: Trial
) -> FrozenTrial | None:
    """Return a trial of another search as one of this study, or None where it cannot be one."""
    values = trial.assignments
    if not is_usable(problem, trial) or not any(name in values for name in problem.space):
        return None
    params: dict[str, Value] = {}
    for name in problem.space:
        parameter = problem.space[name]
        near = nearest(parameter, values[name]) if name in values else middle(parameter)
        if near is None:
            return None
        params[name] = near
    if problem.broken(params):
        return None
    outside = {n: v for n, v in values.items() if n in params and params[n] != v}
    misses = {text: missed_by(text, trial) for text in problem.constraints}
    score = trial.metrics.get(SCORED)
    values_of = [o.value(trial.metrics) for o in problem.objective]
    if score is not None:
        values_of = [problem.objective[0].sign() * score]
    attributes = {EARLIER: True, "name": trial.name, SCORED: score is not None, OUTSIDE: outside}
    return optuna.trial.create_trial(
        params=params,
        distributions=dict(distributions),
        values=values_of,
        user_attrs={name: value for name, value in attributes.items() if value},
        constraints=misses or None,
    )


def missed_by(constraint: str, trial: Trial) -> float:
    """Return what a trial misses a constraint by, as a finite number."""
    return min(Constraint(constraint).violation(trial.metrics), LARGE)


def nearest(parameter: Parameter, value: Value) -> Value | None:
    """Return the value of a parameter that is nearest to a number; a choice must be a member."""
    if parameter.contains(value):
        return value
    if parameter.type == "choice" or isinstance(value, bool | str):
        return None
    if parameter.step is None:
        return min(max(float(value), parameter.low), parameter.high)
    place = round((value - parameter.low) / parameter.step)
    return parameter.point(min(max(place, 0), (parameter.count() or 1) - 1))


def middle(parameter: Parameter) -> Value:
    """Return the value in the middle of a parameter, on its own scale."""
    if parameter.type == "float" and parameter.step is None:
        low, high = parameter.low, parameter.high
        return float((low * high) ** 0.5 if parameter.log else (low + high) / 2)
    return parameter.point((parameter.count() or 1) // 2)


def for_models(
    study: Study, trials: Sequence[FrozenTrial], *, beyond: bool = False
) -> list[FrozenTrial]:
    """Return completed trials on one scale of objectives.

    Args:
        beyond: with the values that are outside of the space, in place of the nearest within.
    """
    found = [_beyond(trial) if beyond else trial for trial in trials]
    if not any(SCORED in trial.user_attrs for trial in found):
        return found
    own = [i for i, trial in enumerate(found) if SCORED not in trial.user_attrs]
    sign = sign_of(study)
    for i, score in zip(own, scores([sign * found[i].values[0] for i in own]), strict=True):
        found[i] = with_value(found[i], sign * score)
    return found


def scores(values: Sequence[float]) -> list[float]:
    """Return the normal score of each value by its rank: 0 for the median, more for the better."""
    order = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return [NormalDist().inv_cdf((place + 0.5) / len(values)) for place in order.tolist()]


def _beyond(trial: FrozenTrial) -> FrozenTrial:
    outside = trial.user_attrs.get(OUTSIDE)
    if not outside:
        return trial
    found = copy.copy(trial)
    found.params = {**trial.params, **outside}
    return found
