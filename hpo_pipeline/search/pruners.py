"""The stopping rules: one table from a name in the experiment file to an Optuna pruner.

A rule sees the curves of all trials of the study and decides at every report. None of them has
a state of its own: what a rule says follows from the curves alone, so that a trial that is run
again after a crash, or a service that restarts, gets the same answer.
"""

from __future__ import annotations

import math
import statistics
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.pruners import BasePruner, HyperbandPruner, NopPruner, ThresholdPruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpo_pipeline.experiment.algorithms.base import Problem
from hpo_pipeline.experiment.stopping import (
    AshaStopping,
    ForecastStopping,
    HyperbandStopping,
    MedianStopping,
    PatienceStopping,
    PercentileStopping,
    ThresholdStopping,
)
from hpo_pipeline.search.forecast import Forecaster


class PercentilePruner(BasePruner):
    """The median stopping rule of Vizier (Golovin et al., KDD 2017, section 3.2.2), generalised.

    A trial ends at step s where its best value so far is worse than a percentile of the running
    averages, up to s, of the trials that finished; 50 is the median. Optuna's rules of
    these names compare with the values *at* s, which one lucky evaluation moves; Katib's takes
    a mean.

    Args:
        percentile: the share of trials, in per cent, that a trial must be among to continue.
        min_trials: how many trials must have finished before any is stopped.
        start_step: first step, counted from 1, at which a trial may be stopped.
    """

    def __init__(self, *, percentile: float = 50.0, min_trials: int, start_step: int) -> None:
        self._percentile = percentile
        self._min_trials = min_trials
        self._start_step = start_step
        self._study: Study | None = None

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Return whether the trial should end at its last reported step."""
        step = trial.last_step
        own = _up_to(trial.intermediate_values, step)
        if step is None or step < self._start_step or not own:
            return False
        sign = sign_of(study)
        averages = self._averages(study, step)
        if len(averages) < self._min_trials:
            return False
        # Of losses, too, the percentile counts from the worst.
        worst = np.percentile(averages, 100 - self._percentile if sign > 0 else self._percentile)
        return max(sign * v for v in own) < sign * float(worst)

    def _averages(self, study: Study, step: int) -> NDArray[Any]:
        """Return the mean up to a step of each completed trial that has one.

        What has completed in a study does not change, so that each trial is looked at once.
        """
        if study is not self._study:
            self._study, self._looked, self._open = study, 0, set[int]()
            self._complete: list[FrozenTrial] = []
            self._means: dict[int, tuple[int, array[float]]] = {}
        trials = study.get_trials(deepcopy=False)
        self._open.update(range(self._looked, len(trials)))
        self._looked = len(trials)
        ended = [i for i in sorted(self._open) if trials[i].state.is_finished()]
        self._open.difference_update(ended)
        self._complete += [trials[i] for i in ended if trials[i].state == TrialState.COMPLETE]
        count, means = self._means.get(step, (0, array("d")))
        for other in self._complete[count:]:
            values = _up_to(other.intermediate_values, step)
            if values:
                means.append(statistics.fmean(values))
        self._means[step] = len(self._complete), means
        return np.array(means)


class AshaPruner(BasePruner):
    """Asynchronous successive halving (Li et al., MLSys 2020), in its stopping form.

    At the first report at or past each rung (`grace_period` times a power of
    `reduction_factor`) a trial continues if it is among the best one in `reduction_factor` of all
    that came as far, each counted by its best value up to the rung; the first trials of a rung
    continue only while they are its best. Behind `last_rung` no trial is judged, and at
    `max_resource` every trial ends. Optuna's keeps the rungs of each trial in the storage, where a
    trial run again would meet those of its first run.
    """

    def __init__(
        self,
        *,
        grace_period: int,
        reduction_factor: int,
        max_resource: int | None = None,
        last_rung: int | None = None,
    ) -> None:
        self._grace_period = grace_period
        self._reduction_factor = reduction_factor
        self._max_resource = max_resource
        self._last_rung = last_rung

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Return whether the trial should end at its last reported step."""
        step = trial.last_step
        if step is None or (rung := self._rung(step)) is None:
            return False
        if self._max_resource is not None and step >= self._max_resource:
            return True
        earlier = [at for at in trial.intermediate_values if at < step]
        if earlier and max(earlier) >= rung:
            return False  # it was judged at this rung before
        sign = sign_of(study)
        own = max((sign * v for v in _up_to(trial.intermediate_values, step)), default=-math.inf)
        others = [
            max(sign * v for v in values)
            for other in study.get_trials(deepcopy=False)
            if other.number != trial.number
            and other.state != TrialState.FAIL
            and (other.last_step or 0) >= rung
            and (values := _up_to(other.intermediate_values, rung))
        ]
        promoted = max(1, (len(others) + 1) // self._reduction_factor)
        return sum(value > own for value in others) >= promoted

    def _rung(self, step: int) -> int | None:
        """Return the highest rung at or below a step, or None below the first."""
        if step < self._grace_period:
            return None
        rung = self._grace_period
        most = step if self._last_rung is None else min(step, self._last_rung)
        while rung * self._reduction_factor <= most:
            rung *= self._reduction_factor
        return rung


class BracketPruner(HyperbandPruner):
    """Hyperband (Li et al., JMLR 2018) of asynchronous brackets, shared out as by Optuna.

    It is not made the study's own pruner, which would have TPE learn from one bracket at a time:
    BOHB (Falkner et al., ICML 2018) fits one model to all.
    """

    def __init__(self, *, grace_period: int, reduction_factor: int, max_resource: int) -> None:
        super().__init__(grace_period, max(max_resource, grace_period), reduction_factor)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Return whether the trial should end at its last reported step."""
        if not self._pruners:
            self._try_initialization(study)
        bracket = self._get_bracket_id(study, trial)
        rule = AshaPruner(
            grace_period=self._min_resource * self._reduction_factor**bracket,
            reduction_factor=self._reduction_factor,
        )
        return rule.prune(self._create_bracket_study(study, bracket), trial)


class PatiencePruner(BasePruner):
    """A trial ends where its last `patience` values gained no more than `min_delta`.

    Optuna's rule of this name adds its delta the other way round and never ends a plateau.
    """

    def __init__(self, *, patience: int, min_delta: float) -> None:
        self._patience = patience
        self._min_delta = min_delta

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Return whether the trial should end at its last reported step."""
        curve = sorted(trial.intermediate_values.items())
        values = [sign_of(study) * v if math.isfinite(v) else -math.inf for _, v in curve]
        if len(values) <= self._patience:
            return False
        before, last = values[: -self._patience], values[-self._patience :]
        return not max(last) > max(before) + self._min_delta


class ForecastPruner(BasePruner):
    """A trial ends where its chance to end above the best trial is small (forecast.py).

    The best is that of all values so far; under constraints, only of ended trials that keep them.
    """

    def __init__(
        self, rule: ForecastStopping, *, longest: int | None, has_constraints: bool
    ) -> None:
        self._rule = rule
        self._longest = longest
        self._has_constraints = has_constraints

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Return whether the trial should end at its last reported step."""
        step = trial.last_step
        if step is None or step < self._rule.start_step:
            return False
        others = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        best = max((b for t in others if (b := self._best(study, t)) is not None), default=None)
        if best is None:
            return False
        own = finite_curve(study, trial)
        if max(own, default=0) < step:
            return False  # not a number: what follows may tell
        found = forecaster(study, others).forecast(
            own, self._rule.min_trials, longest=self._longest
        )
        return found is not None and found.chance_above(best) < self._rule.chance

    def _best(self, study: Study, trial: FrozenTrial) -> float | None:
        """Return the best value of a trial that others have to beat, or None."""
        is_known = trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
        if trial.state == TrialState.FAIL or (self._has_constraints and not is_known):
            return None
        if any(value > 0 for value in trial.constraints.values()):
            return None
        return max(finite_curve(study, trial).values(), default=None)


def forecaster(study: Study, trials: Sequence[FrozenTrial]) -> Forecaster:
    """Return what forecasts by the curves of some trials."""
    states = {TrialState.COMPLETE: True, TrialState.PRUNED: False, TrialState.RUNNING: False}
    curves = [(states[t.state], finite_curve(study, t)) for t in trials if t.state in states]
    return Forecaster([c for whole, c in curves if whole], [c for whole, c in curves if not whole])


def finite_curve(study: Study, trial: FrozenTrial) -> dict[int, float]:
    """Return the values of a curve by step, the highest the best."""
    sign = sign_of(study)
    values = trial.intermediate_values
    return {step: sign * value for step, value in values.items() if math.isfinite(value)}


def build(problem: Problem) -> BasePruner:
    """Return the pruner of the problem."""
    return STOPPING_RULES[problem.stopping.algorithm](problem)


def _none(problem: Problem) -> BasePruner:
    return NopPruner()


def _median(problem: Problem) -> BasePruner:
    rule = problem.stopping
    assert isinstance(rule, MedianStopping)
    return PercentilePruner(min_trials=rule.min_trials, start_step=rule.start_step)


def _percentile(problem: Problem) -> BasePruner:
    rule = problem.stopping
    assert isinstance(rule, PercentileStopping)
    return PercentilePruner(
        percentile=rule.percentile, min_trials=rule.min_trials, start_step=rule.start_step
    )


def _asha(problem: Problem) -> BasePruner:
    rule = problem.stopping
    assert isinstance(rule, AshaStopping)
    return AshaPruner(
        grace_period=rule.grace_period,
        reduction_factor=rule.reduction_factor,
        max_resource=None if rule.row_parts else rule.max_resource,
        last_rung=rule.row_parts[-1] if rule.row_parts else None,
    )


def _hyperband(problem: Problem) -> BasePruner:
    rule = problem.stopping
    assert isinstance(rule, HyperbandStopping)
    longest = rule.max_resource or problem.longest
    assert longest is not None
    return BracketPruner(
        grace_period=rule.grace_period,
        reduction_factor=rule.reduction_factor,
        max_resource=longest,
    )


def _patience(problem: Problem) -> BasePruner:
    rule = problem.stopping
    assert isinstance(rule, PatienceStopping)
    return PatiencePruner(patience=rule.patience, min_delta=rule.min_delta)


def _forecast(problem: Problem) -> BasePruner:
    rule = problem.stopping
    assert isinstance(rule, ForecastStopping)
    return ForecastPruner(rule, longest=problem.longest, has_constraints=bool(problem.constraints))


def _threshold(problem: Problem) -> BasePruner:
    rule = problem.stopping
    assert isinstance(rule, ThresholdStopping)
    return ThresholdPruner(lower=rule.lower, upper=rule.upper, n_warmup_steps=rule.start_step)


STOPPING_RULES: dict[str, Callable[[Problem], BasePruner]] = {
    "none": _none,
    "median": _median,
    "percentile": _percentile,
    "asha": _asha,
    "hyperband": _hyperband,
    "patience": _patience,
    "threshold": _threshold,
    "forecast": _forecast,
}


def sign_of(study: Study) -> int:
    """Return 1 where more of the first objective is better, else -1."""
    return 1 if study.directions[0] == StudyDirection.MAXIMIZE else -1


def _up_to(curve: Mapping[int, float], step: int | None) -> list[float]:
    if step is None:
        return []
    return [value for at, value in curve.items() if at <= step and math.isfinite(value)]
