"""What a search takes from earlier ones, and what conditions leave out of a configuration."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from hpo_pipeline.search.journal import open_journal
from hpo_pipeline.search.study import Study
from tests.search.test_contract import experiment, search
from tests.toys import toy_experiment

CONDITIONS: dict[str, Any] = {
    "optim": {"type": "choice", "values": ["adafactor", "adamw"]},
    "adam_beta1": {
        "type": "float",
        "low": 0.8,
        "high": 0.9,
        "step": 0.05,
        "when": {"optim": "adamw"},
    },
    "model.layers": {"type": "int", "low": 1, "high": 2},
}


def test_earlier_trials_come_before_the_own_and_are_not_counted(tmp_path: Path) -> None:
    made = experiment("tpe")
    earlier = list(search(Study(made.problem), 12))
    finite = [t for t in earlier if math.isfinite(t.metrics.get("accuracy", math.nan))]
    study = Study(made.problem, open_journal(tmp_path / "journal"), earlier=earlier)
    assert study.learned() == len(finite)
    assert 0 < len(finite) < len(earlier)  # some failed, some diverged
    assert study.count() == 0
    first, second = search(study, 2)
    assert [first.number, second.number] == [0, 1]
    assert [first.name, second.name] == ["toy-0", "toy-1"]
    again = Study(made.problem, open_journal(tmp_path / "journal"), earlier=earlier)
    assert (again.learned(), again.count()) == (study.learned(), 2)


def test_a_warm_search_is_past_its_random_beginning() -> None:
    made = experiment("tpe", constraints=[])
    earlier = list(search(Study(made.problem), 30))
    cold = next(search(Study(made.problem)))
    warm = next(search(Study(made.problem, earlier=earlier)))
    assert cold.assignments == earlier[0].assignments
    assert warm.assignments != cold.assignments


def test_trials_of_another_space_are_passed_over() -> None:
    earlier = list(search(Study(experiment("random").problem), 5))
    assert Study(toy_experiment().problem, earlier=earlier).learned() == 0


def test_a_parameter_is_left_out_where_its_condition_does_not_hold() -> None:
    made = toy_experiment(space=CONDITIONS)
    study = Study(made.problem)
    for _ in range(20):
        assignments = study.ask().assignments
        assert ("adam_beta1" in assignments) == (assignments["optim"] == "adamw")


def test_a_grid_has_each_distinct_configuration_once() -> None:
    made = toy_experiment(space=CONDITIONS, search={"algorithm": "grid"})
    assert made.space.size() == 8  # adafactor: 2; adamw: 3 * 2
    study = Study(made.problem)
    points = []
    while not study.is_exhausted():
        points.append(tuple(study.ask().assignments.items()))
    assert len(points) == len(set(points)) == 8
