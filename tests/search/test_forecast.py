"""What a curve will still reach, and the rule and the samplers that use it."""

from __future__ import annotations

import math
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from hpo_pipeline.results.trial import Point, Trial
from hpo_pipeline.results.trial import TrialState as State
from hpo_pipeline.search.forecast import Forecaster
from hpo_pipeline.search.gaussian_process import warped
from hpo_pipeline.search.study import Study, Suggestion
from hpo_pipeline.search.unfinished import forecast_trials
from tests.search.test_contract import experiment

EPOCHS = 10


def rising(end: float, speed: float = 0.5) -> dict[int, float]:
    """Return a curve that saturates at about `end`."""
    return {step: end * (1 - math.exp(-speed * step)) for step in range(1, EPOCHS + 1)}


def cut(curve: dict[int, float], step: int) -> dict[int, float]:
    return {at: value for at, value in curve.items() if at <= step}


def test_a_curve_like_others_is_forecast_to_end_as_they_did() -> None:
    known = Forecaster([rising(end) for end in (0.5, 0.6, 0.7, 0.8, 0.9)])
    for end in (0.55, 0.75, 0.85):
        found = known.forecast(cut(rising(end), 3))
        assert found is not None
        assert found.mean == pytest.approx(max(rising(end).values()), abs=0.03)
        assert found.chance_above(0.99) < 0.05 < 0.95 < found.chance_above(0.4)


def test_a_curve_like_no_other_is_uncertain() -> None:
    known = Forecaster([rising(end) for end in (0.8, 0.82, 0.84, 0.86)])
    usual = known.forecast(cut(rising(0.83), 3))
    slow = known.forecast(cut(rising(0.9, speed=0.1), 3))
    assert usual is not None
    assert slow is not None
    assert slow.deviation > 2 * usual.deviation


def test_without_completed_curves_only_its_own_rise_tells() -> None:
    peers = [cut(rising(end), 3) for end in (0.3, 0.6, 0.9)]
    known = Forecaster([], peers)
    flat, steep = dict.fromkeys(range(1, 4), 0.1), {1: 0.1, 2: 0.3, 3: 0.5}
    assert known.forecast(flat, 2) is None  # nobody knows how long it will be
    stuck, climbing = (known.forecast(c, 2, longest=EPOCHS) for c in (flat, steep))
    assert stuck is not None
    assert climbing is not None
    assert stuck.chance_above(0.7) < 0.1 < climbing.chance_above(0.7)
    assert Forecaster([], peers[:1]).forecast(flat, 2, longest=EPOCHS) is None


def finish(
    study: Study,
    asked: Suggestion,
    curve: list[Point],
    state: State = State.SUCCEEDED,
    **metrics: float,
) -> None:
    found = {"accuracy": max(p.metrics["accuracy"] for p in curve), **metrics}
    name = study.name(asked.number)
    study.tell(Trial(name, asked.number, state, asked.assignments, found, tuple(curve)))


def started(**sections: Any) -> Study:
    """Return a search under the rule, in which three trials completed."""
    study = Study(experiment("random", "forecast", **{"constraints": [], **sections}).problem)
    for end in (0.6, 0.7, 0.9):
        finish(study, study.ask(), points(rising(end)))
    return study


def points(curve: dict[int, float]) -> list[Point]:
    return [Point(s, s, float(s), {"accuracy": v}) for s, v in curve.items()]


@pytest.mark.parametrize(("end", "stops"), [(0.3, True), (0.88, False), (0.99, False)])
def test_a_trial_that_will_not_beat_the_best_ends(end: float, stops: bool) -> None:
    study = started()
    number = study.ask().number
    decisions = [study.should_stop(number, points(cut(rising(end), s))) for s in range(1, 6)]
    assert decisions[0] is False
    assert any(decisions) is stops


def test_the_best_of_a_constrained_search_is_one_that_keeps_the_constraints() -> None:
    toy = experiment("random", "forecast", constraints=["model_size_mb <= 10"])
    study = Study(toy.problem)
    for end, size in ((0.5, 5.0), (0.9, 50.0), (0.92, 50.0)):
        finish(study, study.ask(), points(rising(end)), model_size_mb=size)
    number = study.ask().number
    assert not study.should_stop(number, points(cut(rising(0.6), 3)))


def test_unfinished_trials_count_with_what_they_would_have_reached() -> None:
    study = started()
    stopped = study.ask()
    finish(study, stopped, points(cut(rising(0.8), 3)), state=State.STOPPED)
    inner = study._study
    (found,) = forecast_trials(inner, inner.get_trials(deepcopy=False))
    assert found.number == stopped.number
    assert found.state == TrialState.COMPLETE
    assert max(cut(rising(0.8), 3).values()) + 0.1 < found.values[0] < 0.85


def test_values_below_the_median_are_drawn_near() -> None:
    study = optuna.create_study(direction="minimize")
    for value in (0.10, 0.11, 0.12, 1e6, 5.0):
        study.add_trial(optuna.create_trial(value=value))
    values = [t.values[0] for t in warped(study, study.trials)]
    assert values[:3] == [0.10, 0.11, 0.12]
    assert 0.12 < values[4] < values[3] < 0.2
