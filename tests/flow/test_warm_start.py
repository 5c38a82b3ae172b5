"""What a search takes from earlier ones, and what conditions leave out of a configuration."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial

from hpo_pipeline.experiment.algorithms.base import Problem
from hpo_pipeline.flow.warm_start import adapted, of_use
from hpo_pipeline.results.trial import Trial
from hpo_pipeline.search.distributions import distributions
from hpo_pipeline.search.earlier import as_earlier, for_models
from hpo_pipeline.search.journal import open_journal
from hpo_pipeline.search.study import Study
from tests.search.test_contract import experiment, search
from tests.toys import toy_experiment, toy_trial

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


def test_trials_without_a_common_parameter_are_passed_over_and_that_is_said() -> None:
    earlier = list(search(Study(experiment("random").problem), 3))
    other = toy_experiment(space={"warmup_steps": {"type": "int", "low": 0, "high": 9}})
    assert Study(other.problem, earlier=earlier).learned() == 0
    kept, said = of_use(other, earlier)
    assert kept == []
    assert said is not None
    assert "none of the 3 earlier trials has a parameter of the space (warmup_steps)" in said
    assert of_use(experiment("random"), earlier) == (earlier, None)


def test_a_run_without_a_common_parameter_is_not_used_beside_one_that_has_some() -> None:
    ours = toy_experiment(space={"learning_rate": RATE})
    theirs = toy_experiment(space={"adam_beta1": {"type": "float", "low": 0.8, "high": 0.9}})
    strange = adapted(ours, theirs, [earlier_trial(0.9, adam_beta1=0.85)])
    assert strange[0].assignments == {"adam_beta1": 0.85}, "all would have the same rate"
    known = [earlier_trial(0.8, learning_rate=1e-3)]
    kept, said = of_use(ours, [*known, *strange])
    assert kept == known
    assert said is not None
    assert (
        "1 of 2 earlier trials: no parameter of the space (learning_rate), but adam_beta1" in said
    )


RATE = {"type": "float", "low": 1e-4, "high": 1e-2, "log": True}


def earlier_trial(accuracy: float, **values: Any) -> Trial:
    return replace(toy_trial(accuracy=accuracy), assignments=values)


def frozen(problem: Problem, trial: Trial) -> FrozenTrial | None:
    return as_earlier(problem, distributions(problem.space), trial)


def test_a_trial_whose_parameter_was_inactive_is_learned_from() -> None:
    problem = toy_experiment(space=CONDITIONS).problem
    trial = earlier_trial(0.5, **{"optim": "adafactor", "model.layers": 2})
    assert Study(problem, earlier=[trial]).learned() == 1


def test_a_space_may_have_grown_and_moved() -> None:
    grown = {"learning_rate": RATE, "weight_decay": {"type": "float", "low": 0.0, "high": 0.2}}
    problem = toy_experiment(space=grown).problem
    found = frozen(problem, earlier_trial(0.5, learning_rate=0.1))
    assert found is not None
    assert found.params == {"learning_rate": 0.01, "weight_decay": 0.1}
    study = optuna.create_study(direction="maximize")
    (seen,) = for_models(study, [found], beyond=True)
    assert seen.params == {"learning_rate": 0.1, "weight_decay": 0.1}
    choice = {"learning_rate": RATE, "optim": {"type": "choice", "values": ["sgd"]}}
    gone = earlier_trial(0.5, learning_rate=1e-3, optim="lion")
    assert frozen(toy_experiment(space=choice).problem, gone) is None


@pytest.mark.parametrize("algorithm", ["tpe", "gp"])
def test_values_outside_are_never_proposed(algorithm: str) -> None:
    settings = {"startup_trials": 2}
    space = {"learning_rate": RATE}
    made = toy_experiment(space=space, search={"algorithm": algorithm, "settings": settings})
    rates = [10 ** (-4 + i / 2) for i in range(9)]
    earlier = [earlier_trial(i / 10, learning_rate=rate) for i, rate in enumerate(rates)]
    study = Study(made.problem, earlier=earlier)
    assert study.learned() == 9
    asked = [study.ask().assignments["learning_rate"] for _ in range(4)]
    assert all(1e-4 <= rate <= 1e-2 for rate in asked)
    if algorithm == "gp":
        assert sum(rate > 3e-3 for rate in asked) >= 2  # the best are up there


def test_objectives_of_other_data_become_normal_scores() -> None:
    ours = toy_experiment(objective={"metric": "loss", "goal": "minimize"})
    data = toy_experiment().task.model_copy(update={"data": "others/data"})
    theirs = toy_experiment().model_copy(update={"task": data})
    trials = [earlier_trial(a, learning_rate=0.01 * (a + 1)) for a in (0.1, 0.9, 0.5)]
    worst, best, middle = adapted(ours, theirs, trials)
    values = [frozen(ours.problem, t) for t in (worst, best, middle)]
    assert all(v is not None for v in values)
    found = [v.values[0] for v in values if v is not None]
    assert found[0] == -found[1] > 0 == found[2]  # of a loss, the worst is the highest
    study = optuna.create_study(direction="minimize")
    own = [optuna.create_trial(value=v) for v in (7.0, 3.0, 5.0)]
    seen = for_models(study, [*own, *(v for v in values if v is not None)])
    assert [t.values[0] for t in seen[:3]] == pytest.approx(found[:1] + found[1:])


def test_what_was_fixed_before_is_the_value_of_a_new_parameter() -> None:
    space = {"learning_rate": RATE, "weight_decay": {"type": "float", "low": 0.0, "high": 0.2}}
    ours = toy_experiment(space=space)
    theirs = toy_experiment()
    task = theirs.task.model_copy(update={"training": {"weight_decay": 0.05}})
    (found,) = adapted(
        ours, theirs.model_copy(update={"task": task}), [earlier_trial(0.5, learning_rate=1e-3)]
    )
    assert found.assignments == {"learning_rate": 1e-3, "weight_decay": 0.05}


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
