"""The stopping rules: one table from a name in the experiment file to a pruner of Optuna.

A rule sees the curves of all trials of the study and decides at every report.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping

from optuna.pruners import BasePruner, NopPruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpo_pipeline.experiment import Experiment
from hpo_pipeline.strategies import MedianStopping


class MedianPruner(BasePruner):
    """The median stopping rule of Vizier (Golovin et al., KDD 2017, section 3.2.2).

    A trial ends at step s where its best value so far is worse than the median of the running
    averages, up to s, of the trials that ran to their end. Optuna's rule of this name compares
    with the values *at* s, which one lucky evaluation moves; Katib's takes a mean.

    Args:
        min_trials: how many trials must have run to their end before any is stopped.
        start_step: first step, counted from 1, at which a trial may be stopped.
    """

    def __init__(self, *, min_trials: int, start_step: int) -> None:
        self._min_trials = min_trials
        self._start_step = start_step

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Tell whether the trial should end at its last reported step."""
        step = trial.last_step
        if step is None or step < self._start_step:
            return False
        completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        averages = [
            statistics.fmean(values)
            for other in completed
            if (values := _up_to(other.intermediate_values, step))
        ]
        if len(averages) < self._min_trials:
            return False
        own = _up_to(trial.intermediate_values, step)
        if not own:
            return False
        median = statistics.median(averages)
        if study.direction == StudyDirection.MAXIMIZE:
            return max(own) < median
        return min(own) > median


def build(experiment: Experiment) -> BasePruner:
    """Return the pruner of the experiment."""
    return STOPPING_RULES[experiment.stopping.algorithm](experiment)


def _none(experiment: Experiment) -> BasePruner:
    return NopPruner()


def _median(experiment: Experiment) -> BasePruner:
    rule = experiment.stopping
    assert isinstance(rule, MedianStopping)
    return MedianPruner(min_trials=rule.min_trials, start_step=rule.start_step)


STOPPING_RULES: dict[str, Callable[[Experiment], BasePruner]] = {
    "none": _none,
    "median": _median,
}


def _up_to(curve: Mapping[int, float], step: int) -> list[float]:
    return [value for at, value in curve.items() if at <= step and math.isfinite(value)]
