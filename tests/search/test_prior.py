"""What the user believes: it comes first, for every algorithm, and results overrule it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from hpo_pipeline.engines.katib.settings import read_search, search_settings
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.trial import Trial, TrialState
from hpo_pipeline.search.journal import open_journal
from hpo_pipeline.search.study import Study
from tests.search.test_contract import ALGORITHMS, SETTINGS, SPACE, experiment, search
from tests.toys import faults_of, toy_experiment

PRIOR = {"learning_rate": 3e-3, "optim": "sgd"}


def believing(algorithm: str, prior: dict[str, Any], **sections: Any) -> Experiment:
    settings = SETTINGS.get(algorithm, {})
    section = {"algorithm": algorithm, "seed": 3, "settings": settings, "prior": prior}
    return experiment(algorithm, search=section, **sections)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_belief_comes_first_and_others_are_near_it(algorithm: str) -> None:
    prior = {**PRIOR, "learning_rate": 0.05 if algorithm == "grid" else 3e-3}
    made = believing(algorithm, prior)
    trials = [t.assignments for t in search(Study(made.problem))]
    assert {name: trials[0][name] for name in prior} == prior
    near = [t for t in trials if t["optim"] == "sgd" and _decades(t, prior) < 0.8]
    assert 4 <= len(near) < len(trials)
    for trial in trials:
        assert all(made.space[name].contains(value) for name, value in trial.items())
    assert len({tuple(t.values()) for t in trials}) > len(trials) // 2


def _decades(values: dict[str, Any], prior: dict[str, Any]) -> float:
    return abs(math.log10(values["learning_rate"] / prior["learning_rate"]))


def test_a_population_begins_around_the_belief_and_goes_its_own_way() -> None:
    space = {"learning_rate": SPACE["learning_rate"]}
    section = {"algorithm": "pbt", "settings": {"population": 4}, "prior": {"learning_rate": 1e-3}}
    made = toy_experiment(space=space, search=section, budget={"trials": 12})
    study, rates = Study(made.problem), []
    for _ in range(12):
        found = study.ask()
        rates.append(found.assignments["learning_rate"])
        metrics = {"accuracy": 0.5}
        study.tell(Trial("t", found.number, TrialState.SUCCEEDED, found.assignments, metrics))
    assert rates[0] == 1e-3
    assert len(set(rates)) > 4


@pytest.mark.parametrize("algorithm", ["random", "tpe", "grid"])
def test_a_search_cut_in_the_middle_believes_the_same(algorithm: str, tmp_path: Path) -> None:
    made = believing(algorithm, {"optim": "sgd"})
    whole = list(search(Study(made.problem)))
    first = list(search(Study(made.problem, open_journal(tmp_path / "journal")), 6))
    second = list(search(Study(made.problem, open_journal(tmp_path / "journal"))))
    assert [t.assignments for t in first + second] == [t.assignments for t in whole]


def test_the_rest_of_the_first_is_the_baseline() -> None:
    space = {"learning_rate": SPACE["learning_rate"], "weight_decay": SPACE["weight_decay"]}
    made = toy_experiment(
        space=space, baseline="default", search={"algorithm": "tpe", "prior": {"weight_decay": 0.2}}
    )
    study = Study(made.problem)
    assert study.ask().assignments == {"learning_rate": 5e-5, "weight_decay": 0.0}
    assert study.ask().assignments == {"learning_rate": 5e-5, "weight_decay": 0.2}


def near_belief(best: float) -> float:
    """Return how many of 60 trials are near a belief of 1e-3 where another rate is the best."""
    counts = []
    for seed in range(4):
        section = {"algorithm": "random", "seed": seed, "prior": {"learning_rate": 1e-3}}
        made = toy_experiment(search=section, budget={"trials": 60})
        study, near = Study(made.problem), 0
        for _ in range(60):
            found = study.ask()
            rate = float(found.assignments["learning_rate"])
            metrics = {"accuracy": 0.9 - abs(math.log10(rate / best)) / 10}
            study.tell(Trial("t", found.number, TrialState.SUCCEEDED, found.assignments, metrics))
            near += abs(math.log10(rate / 1e-3)) < 0.8
        counts.append(near)
    return sum(counts) / len(counts)


def test_a_wrong_belief_is_given_up_sooner() -> None:
    right, wrong, by_chance = near_belief(1e-3), near_belief(9e-2), 60 * 1.6 / 4
    assert by_chance + 2 < wrong <= right - 2


def test_it_keeps_the_rules() -> None:
    made = believing("tpe", PRIOR, space_rules=["learning_rate <= 0.001 * model.layers"])
    trials = [t.assignments for t in search(Study(made.problem))]
    assert not any(made.problem.broken(t) for t in trials)
    assert trials[0]["learning_rate"] == 3e-3
    assert trials[0]["optim"] == "sgd"


def test_it_travels_to_katib() -> None:
    settings = search_settings(believing("tpe", PRIOR))
    assert read_search(settings)[1].prior == {"learning_rate": "0.003", "optim": "sgd"}
    assert "prior" not in search_settings(experiment("tpe"))


@pytest.mark.parametrize(
    ("search_section", "fault"),
    [
        (
            "{prior: {learning_rate: 3}}",
            "learning_rate: must be a number from 1e-05 to 0.1, as in the",
        ),
        ("{prior: {rate: 3.0e-4}}", "search.prior.rate: not in the space (learning_rate)"),
        ("{prior: {learning_rate: fast}}", "as in the space, got 'fast'"),
        (
            "{algorithm: 'katib:tpe', prior: {learning_rate: 3.0e-4}}",
            "search.prior: Katib's own algorithms know no beliefs",
        ),
    ],
)
def test_what_is_no_belief_about_the_space_is_refused(
    search_section: str, fault: str, tmp_path: Path
) -> None:
    (found,) = faults_of(tmp_path, search=search_section)
    assert fault in found
