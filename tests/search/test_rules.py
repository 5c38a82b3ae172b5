"""Proposals of every algorithm keep the rules, say the same after a crash, and learn as before."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest

from hpo_pipeline.errors import BackendError
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.trial import Trial, TrialState
from hpo_pipeline.search.study import Known, Study
from tests.toys import LR, toy_experiment

DECAY = {"type": "float", "low": 0.0, "high": 1.0}
SPACE: dict[str, Any] = {
    "model.size": {"type": "int", "low": 16, "high": 256, "step": 4},
    "model.heads": {"type": "int", "low": 1, "high": 16},
    "learning_rate": LR,
    "weight_decay": DECAY,
    "optim": {"type": "choice", "values": ["adamw_torch", "sgd"]},
}
RULES = ["model.size % model.heads == 0", "optim != 'sgd' or learning_rate >= 0.001"]
COUNTED = {name: SPACE[name] for name in ("model.size", "model.heads", "optim")}
FLIGHT = {"learning_rate": LR, "weight_decay": DECAY}
FLIGHT_RULES = ["weight_decay <= 100 * learning_rate", "weight_decay < 0.5 or learning_rate > 0.01"]
ALGORITHMS = ["random", "grid", "qmc", "tpe", "gp", "cmaes", "genetic", "nsga2", "pbt"]


def experiment_for(algorithm: str, trials: int = 200, **sections: Any) -> Experiment:
    space = {"grid": COUNTED, "pbt": FLIGHT}.get(algorithm, SPACE)
    rules = {"grid": RULES[:1], "pbt": FLIGHT_RULES}.get(algorithm, RULES)
    accuracy = {"metric": "accuracy", "goal": "maximize"}
    latency = {"metric": "latency_p95_ms", "goal": "minimize"}
    content = {
        "space": space,
        "space_rules": rules,
        "objective": [accuracy, latency] if algorithm == "nsga2" else accuracy,
        "search": {"algorithm": algorithm, "seed": 3},
        "budget": {"trials": trials},
    }
    return toy_experiment(**content | sections)


def ended(study: Study, number: int) -> Trial:
    given = study.asked(number).assignments
    size, rate = float(given.get("model.size", 64)), float(given.get("learning_rate", 1e-3))
    metrics = {
        "accuracy": -abs(math.log10(rate) + 3) - abs(size - 96) / 100,
        "latency_p95_ms": size,
    }
    return Trial(study.name(number), number, TrialState.SUCCEEDED, given, metrics)


def played(experiment: Experiment, trials: int) -> Study:
    study = Study(experiment.problem)
    for number in range(trials):
        study.ask()
        study.tell(ended(study, number))
    return study


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_no_proposal_breaks_a_rule(algorithm: str) -> None:
    # The fit of gp takes long; the benchmark asks it for 200 too.
    trials = 25 if algorithm == "gp" else 200
    experiment = experiment_for(algorithm, trials)
    study = played(experiment, trials)
    points = [study.parameters(number) for number in range(trials)]
    assert [p for p in points if experiment.problem.broken(p)] == []
    assert all(p.keys() == set(experiment.space) for p in points)
    # Members of a population keep their configurations, and a genetic algorithm its best ones.
    assert len({str(p) for p in points}) > trials / (10 if algorithm == "pbt" else 2)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_search_that_is_rebuilt_goes_on_as_it_would_have(algorithm: str) -> None:
    experiment = experiment_for(algorithm, 40, stopping={"algorithm": "none"})
    study = played(experiment, 14)
    known = {n: Known(ended(study, n), study.parameters(n), frozenset(range(n))) for n in range(14)}
    if algorithm == "pbt":  # whose parents are known with the trials
        known = {
            n: Known(
                Trial(
                    k.trial.name,
                    n,
                    k.trial.state,
                    k.trial.assignments,
                    k.trial.metrics,
                    parent=study.asked(n).parent,
                ),
                k.parameters,
                k.ended_before,
            )
            for n, k in known.items()
        }
    again = Study.rebuilt(experiment.problem, known, asked=14)
    assert again.ask() == study.ask()


def test_a_grid_has_each_point_that_keeps_the_rules_once() -> None:
    space = {
        **COUNTED,
        "momentum": {"type": "int", "low": 0, "high": 2, "when": {"optim": "sgd"}},
        "warmup_steps": {"type": "int", "low": 0, "high": 1, "when": {"model.heads": "> 14"}},
    }
    rules = ["model.size % model.heads == 0", "momentum < model.heads"]
    experiment = experiment_for("grid", 9_999, space=space, space_rules=rules)
    study, found = Study(experiment.problem), []
    expected = {
        (size, heads, optim, momentum, warmup)
        for size in range(16, 257, 4)
        for heads in range(1, 17)
        for optim in ("adamw_torch", "sgd")
        for momentum in ((0, 1, 2) if optim == "sgd" else (None,))
        for warmup in ((0, 1) if heads > 14 else (None,))
        if size % heads == 0 and (momentum is None or momentum < heads)
    }
    while not study.is_exhausted() and len(found) < 60:
        point = study.ask().assignments
        found.append(tuple(point.get(name) for name in space))
    assert experiment.problem.size() == len(expected)
    assert len(set(found)) == len(found)
    assert set(found) <= expected
    small = experiment_for("grid", 99, space_rules=["model.size == 3 * model.heads"])
    study = Study(small.problem)
    everything = set()
    while not study.is_exhausted():
        everything.add(tuple(study.ask().assignments.values()))
    # Sizes that are 16, 20, … and three times 1 … 16: 24, 36 and 48.
    assert sorted({point[:2] for point in everything}) == [(24, 8), (36, 12), (48, 16)]
    assert len(everything) == 6


@pytest.mark.parametrize("algorithm", ["random", "qmc", "tpe", "cmaes", "genetic", "pbt"])
def test_where_few_configurations_keep_the_rules_proposals_stay_quick(algorithm: str) -> None:
    # One of a thousand for the first, one of ten thousand for the second.
    rules = {
        "pbt": ["weight_decay * 100 < learning_rate"],
        "qmc": ["weight_decay < 0.001"],
    }.get(algorithm, ["model.size == 16 * model.heads", "weight_decay < 0.002"])
    experiment = experiment_for(algorithm, 48, space_rules=rules)
    begin = time.process_time()
    study = played(experiment, 48)
    assert time.process_time() - begin < 30
    assert not any(experiment.problem.broken(study.parameters(n)) for n in range(48))


def test_configurations_to_begin_with_come_first_and_the_rest_keeps_the_rules() -> None:
    start = {"model.size": 48, "model.heads": 4, "learning_rate": 0.01, "weight_decay": 0.1}
    start["optim"] = "sgd"
    search = {"algorithm": "tpe", "seed": 3, "start": [start]}
    experiment = experiment_for("tpe", search=search)
    study = played(experiment, 20)
    assert study.asked(0).assignments == start
    assert not any(experiment.problem.broken(study.parameters(n)) for n in range(20))


def test_earlier_trials_that_break_a_rule_are_not_learned_from() -> None:
    experiment = experiment_for("tpe")
    good = {"model.size": 48, "model.heads": 4, "learning_rate": 0.01, "weight_decay": 0.1}
    points = [{**good, "optim": "sgd"}, {**good, "model.heads": 5, "optim": "sgd"}]
    earlier = [
        Trial(f"old-{i}", i, TrialState.SUCCEEDED, point, {"accuracy": 0.5})
        for i, point in enumerate(points)
    ]
    assert Study(experiment.problem, earlier=earlier).learned() == 1


def test_rules_that_nothing_keeps_end_with_a_sentence() -> None:
    experiment = experiment_for("random", space_rules=["learning_rate == 0.001"])
    with pytest.raises(BackendError, match="no configuration was found that keeps them"):
        Study(experiment.problem).ask()


@pytest.mark.parametrize("algorithm", ["random", "qmc", "tpe", "genetic"])
def test_without_rules_nothing_changes(algorithm: str) -> None:
    from hpo_pipeline.search.rule_keeping import RuleKeeping
    from hpo_pipeline.search.samplers import build

    problem = experiment_for(algorithm, space_rules=[]).problem
    assert not isinstance(build(problem, 0), RuleKeeping)
    assert not type(build(problem, 0)).__name__.startswith("Ruled")
