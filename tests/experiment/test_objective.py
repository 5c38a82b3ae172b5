"""Formulas and constraints: what they compute, and that a hostile one does nothing."""

from __future__ import annotations

import math
import time

import pytest
from pydantic import ValidationError

from hpo_pipeline.experiment.formula import Constraint, Formula
from hpo_pipeline.experiment.objective import Objective, with_score

METRICS = {"accuracy": 0.9, "loss": 0.5, "latency_p95_ms": 20.0}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("accuracy", 0.9),
        ("accuracy - 0.01 * latency_p95_ms", 0.7),
        ("-loss + 2 ** 3 / 4", 1.5),
        ("min(accuracy, loss, 2)", 0.5),
        ("max(accuracy)", 0.9),
        ("log(loss * 2)", 0.0),
        ("accuracy * (latency_p95_ms <= 15)", 0.0),
        ("accuracy * (latency_p95_ms != 15)", 0.9),
        ("(accuracy\n  + loss)", 1.4),
        ("  + accuracy", 0.9),
    ],
)
def test_a_formula_computes(text: str, value: float) -> None:
    assert Formula(text).evaluate(METRICS) == pytest.approx(value)


@pytest.mark.parametrize(
    "text",
    [
        *("1 / 0", "0 ** -1", "log(0)", "log(-1)", "(-1) ** 0.5", "min((-1) ** 0.5, 1)"),
        *("9**9**9**9", "1e308 * 10", "1e308 * 10 - 1e308 * 10", "(-8) ** 0.5 < 1", "2 ** 1e300"),
    ],
)
def test_arithmetic_without_a_result_is_not_a_number(text: str) -> None:
    assert math.isnan(Formula(text).evaluate({}))


def test_a_metric_that_is_missing_or_not_finite_gives_no_value() -> None:
    objective = Objective(score="accuracy - loss", goal="maximize")
    assert math.isnan(objective.value({"accuracy": 1.0}))
    assert math.isnan(objective.value({"accuracy": 1.0, "loss": math.inf}))
    assert math.isnan(Objective(metric="f1", goal="maximize").value({}))


def test_a_formula_names_the_metrics_that_it_reads() -> None:
    assert Formula("max(accuracy, 1 - loss) > log(f1)").names == {"accuracy", "loss", "f1"}
    assert Formula("log(log)").names == {"log"}


@pytest.mark.parametrize(
    "text",
    [
        *("__import__('os').system('true')", "open('x')", "exec('x')", "f(1)", "log(1)(2)"),
        *("accuracy.real", "().__class__", "accuracy[0]", "lambda: 1", "[x for x in y]"),
        *("(x := 1)", "x if y else z", "x and y", "not x", "x in y", "x is y", "~x", "f'{x}'"),
        *("x // y", "x % y", "x @ y", "x << y", "x & y", "a < b < c", "'text'", "b'x'", "1j"),
        *("True", "None", "...", "[1]", "{1}", "{}", "(1,)", "await x", "yield", "*x", "x, y"),
        *("log(1, 2)", "log()", "min()", "max(*x)", "max(x, key=y)", "max(**x)", "min(x, f())"),
        *("", " ", "1 +", "x = 1", "import os", "x; y", "x\0", "\\", "1e400", "9" * 400),
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"allowed are|not a formula"):
        Formula(text)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 240 + "x" + ")" * 240,
        "[" * 199 + "x" + "]" * 199,
        "x" + ".a" * 249,
        "lambda:" * 70 + "1",
        "not " * 120 + "x",
        "x" * 501,
        "x+" * 250_000 + "x",
        "9**" * 1_000_000 + "9",
    ],
)
def test_depth_and_length_are_bounded(text: str) -> None:
    start = time.perf_counter()
    with pytest.raises(ValueError, match=r"allowed are|not a formula|at most 500 characters"):
        Formula(text)
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize("text", ["-" * 498 + "x", "+".join("x" * 250), "**".join("9" * 166)])
def test_the_longest_formulas_evaluate_at_once(text: str) -> None:
    start = time.perf_counter()
    Formula(text).evaluate({"x": 1.0})
    assert time.perf_counter() - start < 1


def test_a_formula_is_too_deep_rather_than_a_crash_on_a_nearly_full_stack() -> None:
    def sink(depth: int) -> None:
        if depth:
            return sink(depth - 1)
        with pytest.raises(ValueError, match="not a formula"):
            Formula("-" * 490 + "x")

    sink(600)


@pytest.mark.parametrize(
    ("text", "violation"),
    [
        ("latency_p95_ms <= 15", 5.0),
        ("latency_p95_ms <= 20", 0.0),
        ("latency_p95_ms <= 22.5", -2.5),
        ("accuracy >= 0.95", 0.05),
        ("accuracy > 0.8", -0.1),
        ("latency_p95_ms * 2 < 50 - 20", 10.0),
    ],
)
def test_a_constraint_measures_by_how_much_it_is_missed(text: str, violation: float) -> None:
    assert Constraint(text).violation(METRICS) == pytest.approx(violation)


def test_a_strict_constraint_is_missed_where_both_sides_are_equal() -> None:
    assert Constraint("latency_p95_ms < 20").violation(METRICS) > 0


@pytest.mark.parametrize("text", ["f1 >= 0.5", "log(loss - 1) < 3", "accuracy / 0 > 1"])
def test_a_constraint_without_a_value_is_missed_by_everything(text: str) -> None:
    assert Constraint(text).violation(METRICS) == math.inf


@pytest.mark.parametrize(
    "text", ["accuracy", "accuracy == 1", "accuracy != 1", "0 < accuracy < 1", "accuracy + 1"]
)
def test_a_constraint_is_one_comparison(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be one comparison|allowed are"):
        Constraint(text)


@pytest.mark.parametrize("fields", [{}, {"metric": "f1", "score": "f1"}])
def test_an_objective_is_a_metric_or_a_formula(fields: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="either metric: NAME or score: FORMULA"):
        Objective(**fields, goal="maximize")


def test_the_value_of_a_formula_is_reported_as_score() -> None:
    objectives = [Objective(score="accuracy - loss", goal="maximize")]
    assert with_score(METRICS, objectives) == {**METRICS, "score": pytest.approx(0.4)}
    assert with_score(METRICS, [Objective(metric="f1", goal="maximize")]) == METRICS
