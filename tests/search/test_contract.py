"""What every search algorithm keeps to under every stopping rule, on a toy objective."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpo_pipeline.experiment.algorithms import served
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.ranking import winner
from hpo_pipeline.results.trial import Point, Trial, TrialState
from hpo_pipeline.search.journal import open_journal
from hpo_pipeline.search.pruners import STOPPING_RULES
from hpo_pipeline.search.study import Study, Suggestion
from tests.toys import toy_experiment

SPACE: dict[str, dict[str, Any]] = {
    "learning_rate": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
    "weight_decay": {"type": "float", "low": 0.0, "high": 0.3, "step": 0.1},
    "model.layers": {"type": "int", "low": 2, "high": 8, "step": 2},
    "per_device_train_batch_size": {"type": "choice", "values": [8, 16, 32]},
    "optim": {"type": "choice", "values": ["adamw", "sgd"]},
}
GRID = {**SPACE, "learning_rate": {"type": "float", "low": 0.01, "high": 0.09, "step": 0.04}}
SETTINGS: dict[str, dict[str, Any]] = {
    "tpe": {"startup_trials": 4},
    "gp": {"startup_trials": 4},
    "genetic": {"population": 4},
    "nsga2": {"population": 4},
    "cmaes": {"population": 4},
}
RULES: dict[str, dict[str, Any]] = {"threshold": {"lower": 0.05}, "patience": {"patience": 2}}
ALGORITHMS = sorted(set(served()) - {"pbt"})  # population based training has its own suite
PAIRS = [(a, s) for a in ALGORITHMS for s in STOPPING_RULES if a != "nsga2" or s == "none"]
QUICK = [(a, s) for a, s in PAIRS if a != "gp" or s == "none"]
TRIALS = 14


def experiment(algorithm: str, rule: str = "none", **sections: Any) -> Experiment:
    """Return an experiment on the toy space; its constraint rules out eight layers."""
    objective: Any = {"metric": "accuracy", "goal": "maximize"}
    if algorithm == "nsga2":
        objective = [objective, {"metric": "model_size_mb", "goal": "minimize"}]
    content: dict[str, Any] = {
        "objective": objective,
        "constraints": ["model_size_mb <= 70"],
        "space": GRID if algorithm == "grid" else SPACE,
        "search": {"algorithm": algorithm, "seed": 3, "settings": SETTINGS.get(algorithm, {})},
        "stopping": {"algorithm": rule, **RULES.get(rule, {})},
        "budget": {"trials": TRIALS},
    }
    return toy_experiment(**{**content, **sections})


def quality(values: dict[str, Any]) -> float:
    """Return an accuracy that is best at a learning rate of 1e-3 and with eight layers."""
    off = abs(math.log10(values["learning_rate"]) + 3) / 4
    return 0.9 - 0.5 * off + 0.01 * values["model.layers"] - 0.1 * values["weight_decay"]


def train(study: Study, suggestion: Suggestion) -> Trial:
    """Run a toy trial of six evaluations: a third trial fails, another diverges."""
    values = suggestion.assignments
    size = 10.0 * int(values["model.layers"])
    name = f"toy-{suggestion.number}"
    if suggestion.number % 7 == 3:
        return Trial(name, suggestion.number, TrialState.FAILED, values, reason="out of memory")
    curve: list[Point] = []
    state = TrialState.SUCCEEDED
    for step in range(1, 7):
        value = quality(values) * (1 - 0.5**step)
        if suggestion.number % 7 == 5 and step > 2:
            value = math.nan
        point = Point(step, 10 * step, float(step), {"accuracy": value})
        curve.append(point)
        study.report(suggestion.number, point)
        if study.should_stop(suggestion.number, curve):
            state = TrialState.STOPPED
            break
    metrics = {"accuracy": curve[-1].metrics["accuracy"], "model_size_mb": size}
    return Trial(name, suggestion.number, state, values, metrics, tuple(curve))


def search(study: Study, until: int = TRIALS) -> Iterator[Trial]:
    """Run a study on to so many trials."""
    while study.count() < until and not study.is_exhausted():
        trial = train(study, study.ask())
        study.tell(trial)
        yield trial


@pytest.fixture(autouse=True)
def _no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


@pytest.mark.parametrize(("algorithm", "rule"), QUICK)
def test_every_value_is_one_of_the_space(algorithm: str, rule: str) -> None:
    made = experiment(algorithm, rule)
    trials = list(search(Study(made.problem)))
    assert len(trials) == TRIALS
    for trial in trials:
        assert list(trial.assignments) == list(made.space)
        for name, value in trial.assignments.items():
            assert made.space[name].contains(value), (name, value)
    assert len({tuple(t.assignments.values()) for t in trials}) > TRIALS // 2


@pytest.mark.parametrize(("algorithm", "rule"), QUICK)
def test_a_search_cut_in_the_middle_goes_on_as_if_it_had_not_been(
    algorithm: str, rule: str, tmp_path: Path
) -> None:
    made = experiment(algorithm, rule)
    whole = list(search(Study(made.problem)))
    first = list(search(Study(made.problem, open_journal(tmp_path / "journal")), 8))
    second = list(search(Study(made.problem, open_journal(tmp_path / "journal"))))
    assert [t.assignments for t in first + second] == [t.assignments for t in whole]
    assert [t.state for t in first + second] == [t.state for t in whole]


@pytest.mark.parametrize(("algorithm", "rule"), QUICK)
def test_the_winner_has_a_result_and_meets_the_constraints(algorithm: str, rule: str) -> None:
    made = experiment(algorithm, rule)
    best = winner(made, search(Study(made.problem)))
    assert best is not None
    assert best.state != TrialState.FAILED
    assert math.isfinite(best.metrics["accuracy"])
    assert best.metrics["model_size_mb"] <= 70


@pytest.mark.parametrize("algorithm", [a for a in ALGORITHMS if a != "grid"])
def test_a_log_range_is_searched_over_its_orders_of_magnitude(algorithm: str) -> None:
    trials = list(search(Study(experiment(algorithm).problem), 10 if algorithm == "gp" else 30))
    decades = {math.floor(math.log10(float(t.assignments["learning_rate"]))) for t in trials}
    assert len(decades) >= 3


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_another_seed_gives_other_trials(algorithm: str) -> None:
    made = experiment(algorithm)
    search_section = {"algorithm": algorithm, "seed": 4, "settings": SETTINGS.get(algorithm, {})}
    other = experiment(algorithm, search=search_section)
    one, two = ([t.assignments for t in search(Study(e.problem), 6)] for e in (made, other))
    assert one != two


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_start_configurations_come_first(algorithm: str) -> None:
    space = GRID if algorithm == "grid" else SPACE
    start = {
        "learning_rate": space["learning_rate"]["low"],
        "weight_decay": 0.2,
        "model.layers": 4,
        "per_device_train_batch_size": 16,
        "optim": "sgd",
    }
    section = {"algorithm": algorithm, "seed": 1, "start": [start]}
    first, second = search(Study(experiment(algorithm, search=section).problem), 2)
    assert first.assignments == start
    assert second.assignments != start


@pytest.mark.parametrize(
    "algorithm", ["tpe", "cmaes", "genetic", pytest.param("gp", marks=pytest.mark.slow)]
)
def test_an_algorithm_that_learns_ends_up_nearer_than_it_began(algorithm: str) -> None:
    trials = list(search(Study(experiment(algorithm, constraints=[]).problem), 40))
    found = [quality(t.assignments) for t in trials]
    assert sum(found[-10:]) > sum(found[:10])
