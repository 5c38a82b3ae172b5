"""What `algorithm: auto` stands for."""

from __future__ import annotations

from typing import Any

import pytest

from hpo_pipeline.experiment.schema import Experiment
from tests.toys import toy_experiment

RATE: dict[str, Any] = {"type": "float", "low": 1e-5, "high": 1e-1, "log": True}
BATCH: dict[str, Any] = {"type": "choice", "values": [8, 16]}
NUMBERS = {"learning_rate": RATE, "weight_decay": {"type": "float", "low": 0.0, "high": 0.3}}
MANY = {f"adam_{i}": RATE for i in range(11)}
CONDITIONAL = {
    "optim": {"type": "choice", "values": ["sgd", "adamw_torch"]},
    "learning_rate": RATE,
    "weight_decay": {**NUMBERS["weight_decay"], "when": {"optim": "sgd"}},
}
TWO = [
    {"metric": "accuracy", "goal": "maximize"},
    {"metric": "model_size_mb", "goal": "minimize"},
]

WHOLE = {"stopping": {"algorithm": "none"}}


def auto(**sections: Any) -> Experiment:
    content = {"search": {"algorithm": "auto", "seed": 5}, "stopping": {"algorithm": "auto"}}
    return toy_experiment(**{**content, "space": NUMBERS, "budget": {"trials": 30}, **sections})


@pytest.mark.parametrize(
    ("sections", "chosen", "why"),
    [
        ({"space": {"a": BATCH, "b": BATCH}}, "grid", "covers all 4 configurations"),
        (
            {"space": {"a": BATCH, "b": BATCH}, "budget": {"trials": 3}},
            "tpe",
            "no parameter is a n",
        ),
        ({"budget": {"trials": 8, "parallel": 8}}, "qmc", "before the first has ended"),
        (
            {"budget": {"trials": 8, "parallel": 8}, "space": CONDITIONAL},
            "random",
            "before the first has ended",
        ),
        ({"objective": TWO}, "tpe", "2 objectives"),
        ({"space": CONDITIONAL}, "tpe", "(when)"),
        ({"space": MANY}, "tpe", "11 parameters"),
        ({"budget": {"trials": 60}}, "tpe", "trials are stopped early"),
        ({"budget": {"trials": 60}, **WHOLE}, "gp", "2 parameters, 60 trials"),
        ({"budget": {"trials": 10}, **WHOLE}, "tpe", "10 trials"),
        ({"budget": {"trials": 2000}, **WHOLE}, "tpe", "2000 trials"),
    ],
)
def test_the_algorithm_suits_space_and_budget(
    sections: dict[str, Any], chosen: str, why: str
) -> None:
    made = auto(**sections)
    assert made.problem.search.algorithm == chosen
    assert why in made.choices()["search"]
    assert made.search.algorithm == "auto"
    assert made.problem.search.seed == 5


@pytest.mark.parametrize(
    ("epochs", "sections", "chosen"),
    [
        (5, {}, "forecast"),
        (1, {}, "none"),
        (2, {}, "median"),
        (5, {"objective": TWO}, "median"),
        (5, {"search": {"algorithm": "katib:random"}}, "none"),
    ],
)
def test_the_rule_suits_the_curves(epochs: int, sections: dict[str, Any], chosen: str) -> None:
    made = auto(**sections)
    task = made.task.model_copy(update={"training": {"num_train_epochs": epochs}})
    assert made.model_copy(update={"task": task}).problem.stopping.algorithm == chosen


@pytest.mark.parametrize(
    ("every", "evaluations", "chosen"),
    [(0.5, 2, "median"), (0.25, 4, "forecast"), (0.3, 4, "forecast"), (50, None, "forecast")],
)
def test_a_share_of_the_training_tells_how_often_it_evaluates(
    every: float, evaluations: int | None, chosen: str
) -> None:
    made = auto()
    steps = {"num_train_epochs": 1, "eval_strategy": "steps", "eval_steps": every}
    found = made.model_copy(update={"task": made.task.model_copy(update={"training": steps})})
    assert found.longest_training() == evaluations
    assert found.problem.stopping.algorithm == chosen


def test_a_named_algorithm_is_no_choice() -> None:
    made = auto(search={"algorithm": "tpe"}, stopping={"algorithm": "none"})
    assert made.choices() == {}
    assert (made.chosen_search, made.chosen_stopping) == (made.search, made.stopping)


def test_a_run_may_resume_with_another_budget() -> None:
    few, many = (auto(budget={"trials": n}, **WHOLE) for n in (10, 60))
    assert few.chosen_search.algorithm != many.chosen_search.algorithm
    assert few.identity() == many.identity()
