"""Several objectives stop early: by the Pareto rank of a trial at each step."""

from __future__ import annotations

from typing import Any

import pytest

from hpo_pipeline.results.trial import Point, Trial, TrialState
from hpo_pipeline.search.journal import open_journal
from hpo_pipeline.search.ranked import kept, ranked
from hpo_pipeline.search.study import Study
from tests.search.test_contract import experiment

TWO = [
    {"metric": "accuracy", "goal": "maximize"},
    {"metric": "latency_p95_ms", "goal": "minimize"},
]
RULES: dict[str, dict[str, Any]] = {
    "median": {"min_trials": 3},
    "percentile": {"percentile": 50.0},
    "asha": {"grace_period": 1},
    "hyperband": {"grace_period": 1, "max_resource": 3},
}


def points(accuracy: float, latency: float, steps: int = 3) -> list[Point]:
    return [
        Point(s, s, float(s), {"accuracy": accuracy * s / 3, "latency_p95_ms": latency})
        for s in range(1, steps + 1)
    ]


def run(study: Study, accuracy: float, latency: float) -> bool:
    """Run a trial of three evaluations; return whether it was stopped."""
    asked, curve = study.ask(), points(accuracy, latency)
    for i, point in enumerate(curve, start=1):
        study.report(asked.number, point)
        is_stopped = study.should_stop(asked.number, curve[:i])
        if is_stopped:
            curve = curve[:i]
            break
    state = TrialState.STOPPED if is_stopped else TrialState.SUCCEEDED
    name, metrics = study.name(asked.number), curve[-1].metrics
    study.tell(Trial(name, asked.number, state, asked.assignments, metrics, tuple(curve)))
    return is_stopped


def opened(rule: str, storage: Any = None) -> Study:
    made = experiment(
        "random", objective=TWO, constraints=[], stopping={"algorithm": rule, **RULES[rule]}
    )
    return Study(made.problem, storage)


@pytest.mark.parametrize("rule", RULES)
def test_a_dominated_trial_ends_and_one_of_the_front_does_not(rule: str) -> None:
    study = opened(rule)
    front = [run(study, 0.9, 30.0), run(study, 0.8, 20.0), run(study, 0.6, 10.0)]
    assert front == [False] * 3
    dominated = [run(study, 0.5 - i / 100, 40.0 + i) for i in range(4)]
    assert any(dominated)
    assert not run(study, 0.5, 5.0)  # the least accurate, and the quickest


def test_ranks_are_those_of_the_fronts_at_a_step() -> None:
    study = opened("median")
    for accuracy, latency in ((0.9, 30.0), (0.6, 10.0), (0.8, 40.0)):
        run(study, accuracy, latency)
    inner = study._study
    single, trial = ranked(inner, 1, kept(inner.trials[1]))
    assert [t.intermediate_values[3] for t in single.trials] == [0.0, 0.0, -1.0]
    assert trial.intermediate_values == {1: 0.0, 2: 0.0, 3: 0.0}


def test_a_search_that_resumes_knows_the_curves(tmp_path: Any) -> None:
    path = tmp_path / "journal.log"
    study = opened("median", open_journal(path))
    for accuracy, latency in ((0.9, 30.0), (0.8, 20.0), (0.7, 15.0)):
        run(study, accuracy, latency)
    resumed = opened("median", open_journal(path))
    assert run(resumed, 0.1, 50.0)


@pytest.mark.parametrize("rule", ["patience", "threshold", "forecast"])
def test_rules_that_need_a_value_are_refused(rule: str) -> None:
    from hpo_pipeline.experiment.checks.strategies import strategy_faults

    given = {"threshold": {"lower": 0.1}}.get(rule, {})
    made = experiment("random", stopping={"algorithm": rule, **given})
    two = experiment("random", objective=TWO)
    (fault,) = strategy_faults({"objective": two.objective, "stopping": made.stopping})
    assert fault.startswith(f"stopping.algorithm: {rule} needs the values of one objective")
