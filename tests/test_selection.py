"""Which trial wins."""

from __future__ import annotations

import math

import pytest

from hpo_pipeline.objective import Objective
from hpo_pipeline.results import Trial, TrialState
from hpo_pipeline.selection import is_usable, pareto_front, rank, violation, winner
from tests.toys import toy_experiment, toy_trial

ACCURACY = {"metric": "accuracy", "goal": "maximize"}
LOSS = {"metric": "loss", "goal": "minimize"}


def numbers(trials: list[Trial]) -> list[int]:
    return [trial.number for trial in trials]


def test_the_goal_decides_the_order() -> None:
    trials = [toy_trial(0, accuracy=0.8, loss=0.1), toy_trial(1, accuracy=0.9, loss=0.2)]
    assert numbers(rank(toy_experiment(), trials)) == [1, 0]
    assert numbers(rank(toy_experiment(objective=LOSS), trials)) == [0, 1]


def test_a_formula_decides_the_order() -> None:
    objective = {"score": "accuracy - 0.1 * loss", "goal": "maximize"}
    trials = [toy_trial(0, accuracy=0.9, loss=3.0), toy_trial(1, accuracy=0.8, loss=0.1)]
    assert numbers(rank(toy_experiment(objective=objective), trials)) == [1, 0]


def test_constraints_come_before_the_objective() -> None:
    experiment = toy_experiment(constraints=["latency_p95_ms <= 15"])
    trials = [
        toy_trial(0, accuracy=0.99, latency_p95_ms=30),
        toy_trial(1, accuracy=0.98, latency_p95_ms=16),
        toy_trial(2, accuracy=0.70, latency_p95_ms=15),
        toy_trial(3, accuracy=0.95),
    ]
    assert numbers(rank(experiment, trials)) == [2, 1, 0, 3]


def test_nobody_wins_where_no_trial_satisfies_the_constraints() -> None:
    experiment = toy_experiment(constraints=["accuracy >= 0.95"])
    assert winner(experiment, [toy_trial(0, accuracy=0.9)]) is None
    assert winner(experiment, []) is None
    assert winner(experiment, [toy_trial(0, accuracy=0.95)]) is not None


def test_violations_of_several_constraints_add_up() -> None:
    experiment = toy_experiment(constraints=["accuracy >= 0.95", "loss <= 1", "f1 > 0.1"])
    assert violation(experiment, {"accuracy": 0.9, "loss": 3.0, "f1": 0.9}) == pytest.approx(2.05)
    assert violation(experiment, {"accuracy": 0.99, "loss": 0.5, "f1": 0.9}) == 0
    assert violation(experiment, {"accuracy": 0.99}) == math.inf


def test_ties_go_to_the_smaller_model_then_to_the_earlier_trial() -> None:
    trials = [
        toy_trial(0, accuracy=0.9),
        toy_trial(3, accuracy=0.9, model_size_mb=2.0),
        toy_trial(2, accuracy=0.9, model_size_mb=2.0),
        toy_trial(1, accuracy=0.9, model_size_mb=1.0),
    ]
    assert numbers(rank(toy_experiment(), trials)) == [1, 2, 3, 0]


def test_several_objectives_are_compared_in_the_order_of_the_file() -> None:
    trials = [toy_trial(0, accuracy=0.9, loss=0.2), toy_trial(1, accuracy=0.9, loss=0.1)]
    trials += [toy_trial(2, accuracy=0.8, loss=0.0)]
    assert numbers(rank(toy_experiment(objective=[ACCURACY, LOSS]), trials)) == [1, 0, 2]
    assert numbers(rank(toy_experiment(objective=[LOSS, ACCURACY]), trials)) == [2, 1, 0]


def test_a_stopped_trial_may_win() -> None:
    trials = [toy_trial(0, accuracy=0.8), toy_trial(1, state=TrialState.STOPPED, accuracy=0.9)]
    assert numbers(rank(toy_experiment(), trials)) == [1, 0]


@pytest.mark.parametrize(
    "trial",
    [
        toy_trial(state=TrialState.FAILED, accuracy=1.0),
        toy_trial(state=TrialState.RUNNING, accuracy=1.0),
        toy_trial(loss=0.1),
        toy_trial(accuracy=math.nan),
        toy_trial(accuracy=math.inf),
    ],
)
def test_a_trial_without_a_finite_objective_is_never_chosen(trial: Trial) -> None:
    assert not is_usable(toy_experiment(), trial)
    assert winner(toy_experiment(), [trial]) is None


def test_the_pareto_front_holds_what_nothing_else_beats() -> None:
    objectives = [Objective.model_validate(ACCURACY), Objective.model_validate(LOSS)]
    points = [(0.9, 0.5), (0.8, 0.3), (0.85, 0.6), (0.8, 0.4), (0.9, 0.5), (0.7, 0.3)]
    trials = [toy_trial(i, accuracy=a, loss=b) for i, (a, b) in enumerate(points)]
    assert numbers(pareto_front(objectives, trials)) == [0, 1, 4]
