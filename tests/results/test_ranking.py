"""Which trial wins."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpo_pipeline.experiment.objective import Objective
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.ranking import (
    fronts,
    is_undecided,
    is_usable,
    pareto_front,
    rank,
    scale_of,
    violation,
    winner,
)
from hpo_pipeline.results.trial import Trial, TrialState
from tests.toys import faults_of, toy_experiment, toy_trial

ACCURACY = {"metric": "accuracy", "goal": "maximize"}
LOSS = {"metric": "loss", "goal": "minimize"}
LATENCY = {"metric": "latency_p95_ms", "goal": "minimize"}
RULES: list[dict[str, Any]] = [
    {"rule": "knee"},
    {"rule": "weights", "weights": {"accuracy": 0.7, "latency_p95_ms": 0.3}},
    {"rule": "lexicographic", "order": ["accuracy", "latency_p95_ms"]},
]
ONE = "{metric: accuracy, goal: maximize}"
TWO = f"[{ONE}, {{metric: latency_p95_ms, goal: minimize}}]"


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
    missing = toy_trial(0, accuracy=0.9, loss=3.0, f1=0.9)
    assert violation(experiment, missing) == pytest.approx(2.05)
    assert violation(experiment, toy_trial(1, accuracy=0.99, loss=0.5, f1=0.9)) == 0
    assert violation(experiment, toy_trial(2, accuracy=0.99)) == math.inf


def within(number: int, low: float, high: float | None, accuracy: float) -> Trial:
    """Return a trial whose latency is between two ends."""
    trial = toy_trial(number, accuracy=accuracy, latency_p95_ms=low)
    return replace(trial, intervals={"latency_p95_ms": (low, high)})


def test_an_undecided_constraint_ranks_between_a_met_and_a_missed_one() -> None:
    experiment = toy_experiment(constraints=["latency_p95_ms <= 5"])
    missed, undecided, met = (
        within(0, 5.1, 7.0, accuracy=0.99),
        within(1, 4.0, 6.0, accuracy=0.98),
        within(2, 4.0, 4.9, accuracy=0.9),
    )
    assert numbers(rank(experiment, [missed, undecided, met])) == [2, 1, 0]
    assert winner(experiment, [missed, undecided]) == undecided
    assert winner(experiment, [missed]) is None
    assert is_undecided(experiment, within(3, 4.0, None, accuracy=0.9))
    assert violation(experiment, undecided) == 0
    both = toy_experiment(objective=[ACCURACY, LATENCY], constraints=["latency_p95_ms <= 5"])
    assert numbers(rank(both, [missed, undecided, met])) == [2, 1, 0]


def test_ties_go_to_the_smaller_model_then_to_the_earlier_trial() -> None:
    trials = [
        toy_trial(0, accuracy=0.9),
        toy_trial(3, accuracy=0.9, model_size_mb=2.0),
        toy_trial(2, accuracy=0.9, model_size_mb=2.0),
        toy_trial(1, accuracy=0.9, model_size_mb=1.0),
    ]
    assert numbers(rank(toy_experiment(), trials)) == [1, 2, 3, 0]


def on_front(*points: tuple[float, float]) -> list[Trial]:
    """Return trials with these values of accuracy and latency."""
    return [toy_trial(i, accuracy=a, latency_p95_ms=ms) for i, (a, ms) in enumerate(points)]


def two_objectives(**select: Any) -> Experiment:
    """Return an experiment with accuracy and latency as objectives."""
    chosen = {"select": select} if select else {}
    return toy_experiment(objective=[ACCURACY, LATENCY], **chosen)


@pytest.mark.parametrize("select", [{}, {"rule": "knee"}])
def test_the_knee_is_farthest_from_the_line_through_the_extremes(select: dict[str, str]) -> None:
    trials = on_front((0.90, 10.0), (0.88, 5.0), (0.80, 4.5), (0.30, 1.0))
    assert numbers(rank(two_objectives(**select), trials)) == [1, 2, 0, 3]


def test_a_knee_does_not_depend_on_units_nor_on_trials_off_the_front() -> None:
    trials = on_front((0.90, 10.0), (0.88, 5.0), (0.80, 4.5), (0.30, 1.0))
    microseconds = on_front((0.90, 1e4), (0.88, 5e3), (0.80, 4.5e3), (0.30, 1e3))
    diverged = toy_trial(4, accuracy=0.0, latency_p95_ms=1e6)
    assert numbers(rank(two_objectives(), microseconds)) == [1, 2, 0, 3]
    assert numbers(rank(two_objectives(), [*trials, diverged])) == [1, 2, 0, 3, 4]


def test_of_two_extremes_alone_the_first_objective_decides() -> None:
    assert numbers(rank(two_objectives(), on_front((0.8, 1.0), (0.9, 2.0)))) == [1, 0]


def test_dominated_trials_come_front_by_front_after_the_pareto_front() -> None:
    trials = on_front((0.7, 9.0), (0.9, 5.0), (0.8, 6.0), (0.2, 1.0))
    assert numbers(rank(two_objectives(), trials)) == [1, 3, 2, 0]


@pytest.mark.parametrize(("accuracy", "latency", "first"), [(9, 1, 0), (1, 1, 1), (1, 9, 2)])
def test_weights_move_the_choice_along_the_front(accuracy: int, latency: int, first: int) -> None:
    trials = on_front((0.9, 10.0), (0.8, 3.0), (0.5, 1.0))
    weights = {"accuracy": accuracy, "latency_p95_ms": latency}
    ranked = rank(two_objectives(rule="weights", weights=weights), trials)
    assert ranked[0].number == first


@pytest.mark.parametrize(
    ("order", "tolerance", "expected"),
    [
        (["accuracy", "latency_p95_ms"], {}, [0, 1, 2]),
        (["accuracy", "latency_p95_ms"], {"accuracy": 0.01}, [1, 0, 2]),
        (["accuracy", "latency_p95_ms"], {"accuracy": 0.1}, [2, 1, 0]),
        (["latency_p95_ms", "accuracy"], {}, [2, 1, 0]),
        (["latency_p95_ms", "accuracy"], {"latency_p95_ms": 2.0}, [1, 2, 0]),
    ],
)
def test_within_the_tolerance_of_the_first_objective_the_second_decides(
    order: list[str], tolerance: dict[str, float], expected: list[int]
) -> None:
    trials = on_front((0.91, 10.0), (0.90, 5.0), (0.85, 4.0))
    experiment = two_objectives(rule="lexicographic", order=order, tolerance=tolerance)
    assert numbers(rank(experiment, trials)) == expected


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["rule"])
def test_constraints_and_failures_come_before_any_rule(rule: dict[str, Any]) -> None:
    experiment = toy_experiment(
        objective=[ACCURACY, LATENCY], select=rule, constraints=["latency_p95_ms <= 15"]
    )
    trials = on_front((0.99, 16.0), (0.6, 14.0), (0.5, 15.0))
    trials += [toy_trial(3, accuracy=math.nan, latency_p95_ms=1.0)]
    trials += [toy_trial(4, state=TrialState.FAILED, accuracy=1.0, latency_p95_ms=1.0)]
    assert numbers(rank(experiment, trials)) == [1, 2, 0]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["rule"])
def test_the_winner_of_every_rule_is_on_the_pareto_front(rule: dict[str, Any]) -> None:
    experiment, rng = two_objectives(**rule), random.Random(0)
    for _ in range(50):
        trials = on_front(*((rng.randint(0, 9) / 10, rng.randint(1, 9)) for _ in range(20)))
        front = pareto_front(experiment.objective, trials)
        ranked = rank(experiment, trials)
        assert {t.number for t in ranked[: len(front)]} == {t.number for t in front}


def test_another_scale_may_be_given() -> None:
    experiment = two_objectives()
    scale = scale_of(experiment, on_front((0.9, 100.0), (0.1, 1.0)))
    few = on_front((0.80, 9.0), (0.79, 8.0), (0.50, 7.0))
    assert numbers(rank(experiment, few)) == [1, 0, 2]
    assert numbers(rank(experiment, few, scale=scale)) == [0, 1, 2]


def test_fronts_are_what_is_left_undominated_again_and_again() -> None:
    rng = random.Random(0)
    points = [tuple(rng.randint(0, 5) for _ in range(3)) for _ in range(60)]
    left = set(range(len(points)))
    for front in fronts(points):
        assert set(front) == {i for i in left if not any(beats(points, j, i) for j in left)}
        left -= set(front)
    assert not left


def beats(points: list[tuple[int, ...]], one: int, other: int) -> bool:
    pairs = list(zip(points[one], points[other], strict=True))
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


@pytest.mark.parametrize(
    ("section", "objectives", "faults"),
    [
        ("{rule: best}", TWO, ["select.rule: best compares one objective, and there are 2"]),
        ("{rule: knee}", ONE, ["select.rule: knee chooses among several objectives"]),
        ("{rule: best}", ONE, []),
        ("{rule: median}", TWO, ["select.rule: must be one of 'best', 'knee', 'weights'"]),
        ("{weights: {f1: 1}}", TWO, ["select: rule is required: best, knee, weights"]),
        ("knee", TWO, ["select: must be a mapping such as {rule: knee}, got 'knee'"]),
        ("{rule: knee, weights: {}}", TWO, ["select.weights: unknown key; allowed are rule"]),
        ("{rule: weights}", TWO, ["select.weights: is required"]),
        (
            "{rule: weights, weights: {f1: 0, latency: -1}}",
            TWO,
            [
                "select.weights.f1: input should be greater than 0, got 0",
                "select.weights.latency: input should be greater than 0, got -1",
            ],
        ),
        (
            "{rule: weights, weights: {accuracy: .nan, latency: heavy}}",
            TWO,
            [
                "select.weights.accuracy: input should be a finite number, got nan",
                "select.weights.latency: input should be a valid number, got 'heavy'",
            ],
        ),
        (
            "{rule: weights, weights: {f1: 1}}",
            TWO,
            [
                "select.weights: 'f1' is not an objective; the objectives are accuracy",
                "select.weights: accuracy is missing",
                "select.weights: latency_p95_ms is missing",
            ],
        ),
        (
            "{rule: lexicographic, order: [accuracy, accuracy], tolerance: {f1: 0.1}}",
            TWO,
            [
                "select.order: latency_p95_ms is missing",
                "select.order: accuracy is there 2 times",
                "select.tolerance.f1: is not an objective",
            ],
        ),
        (
            "{rule: lexicographic, order: accuracy, tolerance: {accuracy: -0.1}}",
            TWO,
            [
                "select.order: must be a list, got 'accuracy'",
                "select.tolerance.accuracy: input should be greater than or equal to 0, got -0.1",
            ],
        ),
    ],
)
def test_what_a_rule_is_told_is_checked(
    section: str, objectives: str, faults: list[str], tmp_path: Path
) -> None:
    found = faults_of(tmp_path, objective=objectives, select=section)
    assert len(found) == len(faults), found
    assert all(one.startswith(other) for one, other in zip(found, faults, strict=True)), found


def test_another_rule_is_not_another_experiment() -> None:
    rule = {"rule": "weights", "weights": {"accuracy": 1.0, "latency_p95_ms": 2.0}}
    changed = two_objectives(**rule)
    assert changed.identity() == two_objectives().identity()
    assert Experiment.model_validate_json(changed.to_json()) == changed


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
