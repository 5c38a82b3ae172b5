"""The search space: bounds, the text form of values, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from hpo_pipeline.experiment.space import Space, Value, render, section


def space(**parameters: dict[str, Any]) -> Space:
    return Space.model_validate(parameters)


def float_range(**fields: Any) -> dict[str, Any]:
    return {"type": "float", "low": 0.0, "high": 1.0, **fields}


def int_range(**fields: Any) -> dict[str, Any]:
    return {"type": "int", "low": 1, "high": 8, **fields}


def choice(*values: Any) -> dict[str, Any]:
    return {"type": "choice", "values": list(values)}


def test_the_order_of_the_file_is_kept() -> None:
    assert list(space(b=int_range(), a=float_range(), c=choice("x"))) == ["b", "a", "c"]


def test_a_value_is_read_back_as_it_was_written() -> None:
    given = space(lr=float_range(), layers=int_range(), optim=choice(True, 1.5, 2, "sgd"))
    values: list[dict[str, Value]] = [
        {"lr": 0.1 + 0.2, "layers": 3, "optim": value} for value in (True, 1.5, 2, "sgd")
    ]
    for assignments in values:
        parsed = given.parse({name: render(value) for name, value in assignments.items()})
        assert parsed == assignments
        assert [type(v) for v in parsed.values()] == [type(v) for v in assignments.values()]


@pytest.mark.parametrize("value", [1e-300, 1 / 3, 5e-324, 123456789.123456789, -0.0])
def test_a_float_keeps_its_last_digit(value: float) -> None:
    assert space(lr=float_range())["lr"].parse(render(value)) == value


def test_a_text_outside_the_space_says_what_there_is() -> None:
    given = space(lr=float_range(), optim=choice("adamw", "sgd"))
    with pytest.raises(ValueError, match="optim: 'adam' is none of adamw, sgd"):
        given.parse({"optim": "adam"})
    with pytest.raises(ValueError, match=r"seed: not in the space \(lr, optim\)"):
        given.parse({"seed": "1"})


@pytest.mark.parametrize(
    ("fields", "count"),
    [({"step": 0.1}, 11), ({"step": 0.3}, 4), ({"high": 0.3, "step": 0.1}, 4), ({"step": 1.0}, 2)],
)
def test_a_step_counts_in_decimal(fields: dict[str, float], count: int) -> None:
    parameter = space(x=float_range(**fields))["x"]
    points = [parameter.point(i) for i in range(count)]
    assert parameter.count() == len(set(points)) == count
    assert all(parameter.contains(value) for value in points)


def test_a_grid_has_the_numbers_a_person_would_write() -> None:
    assert [space(x=float_range(step=0.3))["x"].point(i) for i in range(4)] == [0.0, 0.3, 0.6, 0.9]
    assert [space(x=int_range(step=3))["x"].point(i) for i in range(3)] == [1, 4, 7]


def test_the_size_is_the_product_unless_a_parameter_is_continuous() -> None:
    assert space(a=int_range(), b=choice("x", "y"), c=float_range(step=0.5)).size() == 48
    assert space(a=int_range(), b=float_range()).size() is None


@pytest.mark.parametrize("value", [0.05, 1.01, -0.1, "0.1", True])
def test_a_range_with_a_step_holds_its_points_only(value: Value) -> None:
    assert not space(x=float_range(step=0.1))["x"].contains(value)


def test_true_is_not_one() -> None:
    assert not space(x=int_range())["x"].contains(True)
    assert not space(x=choice(1, 2))["x"].contains(True)
    assert not space(x=choice(True))["x"].contains(1)


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        (float_range(low=1.0), "low must be below high, got low=1.0, high=1.0"),
        (float_range(low=2.0), "low must be below high"),
        (float_range(log=True), "log needs low above 0, got low=0.0"),
        (float_range(low=0.1, log=True, step=0.1), "log and step exclude each other"),
        (float_range(step=2.0), "step must not exceed high - low"),
        (float_range(step=0.0), "greater than 0"),
        (float_range(step=1e-300), "step is too small"),
        (float_range(low=float("nan")), "finite"),
        (float_range(high=float("inf")), "finite"),
        (float_range(low=-1e308, high=1e308), "the range is too wide"),
        (float_range(low=True), "valid number"),
        (float_range(low="0.1"), "valid number"),
        (int_range(low=8), "low must be below high, got low=8, high=8"),
        (int_range(low=0, log=True), "log needs low above 0, got low=0"),
        (int_range(low=1.5), "valid integer"),
        (int_range(high=10**400), "less than or equal to"),
        (int_range(step=0), "greater than or equal to 1"),
        (choice(), "at least 1 item"),
        (choice("a", "a"), r"values must differ \(.*\), got a, a"),
        (choice("1", 1), "values must differ"),
        (choice(1, 1.0), "values must differ"),
        (choice(1, True), "values must differ"),
        (choice("a b"), "got 'a b'"),
        (choice("$(reboot)"), "text may hold"),
        (choice(""), "text may hold"),
        (choice(float("nan")), "finite"),
        (choice(None), "must be true, false, a number or text, got None"),
        (choice(["a"]), r"must be true, false, a number or text, got \['a'\]"),
        (int_range(sep=1), "Extra inputs"),
        ({"type": "double"}, "'double'"),
    ],
)
def test_a_bad_parameter_is_refused(parameter: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        space(x=parameter)


@pytest.mark.parametrize("name", ["", "a b", "a-b", "model.", "data.x", "model.a.b", "1a", "a\n"])
def test_a_name_that_names_nothing_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="a name is a field of TrainingArguments"):
        space(**{name: int_range()})


def test_an_empty_space_is_refused() -> None:
    with pytest.raises(ValidationError, match="at least one parameter"):
        space()


def test_nothing_can_be_changed_afterwards() -> None:
    parameter = space(x=int_range())["x"]
    with pytest.raises(ValidationError, match="frozen"):
        parameter.log = True  # type: ignore[misc]


def test_a_section_has_its_own_names_only() -> None:
    assignments = {"lr": 1.0, "model.layers": 2, "task.freeze": "none"}
    assert section(assignments, "") == {"lr": 1.0}
    assert section(assignments, "model") == {"layers": 2}
    assert section(assignments, "task") == {"freeze": "none"}


@pytest.mark.parametrize(
    ("when", "fault"),
    [
        ({"b": 1}, "a.when.b: no parameter before it; there are optim, layers, rate"),
        ({"optim": "sgd"}, "a.when.optim: 'sgd' is not in its space"),
        ({"optim": ">= 3"}, "a.when.optim: its values have no order, got '>= 3'"),
        ({"layers": "> 4"}, "a.when.layers: '> 4' never holds; its values are 1 to 4"),
        ({"layers": "> 1 and < 2"}, "a.when.layers: '> 1 and < 2' never holds"),
        ({"layers": "> two"}, "a.when.layers: > needs a number, got '> two'"),
        ({"layers": "=> 2"}, "a.when.layers: must be a value or comparisons with"),
        ({"rate": 0.1}, "a.when.rate: must be a comparison such as '>= 0' for a float, got 0.1"),
    ],
)
def test_a_condition_that_cannot_hold_is_refused(when: dict[str, Any], fault: str) -> None:
    space = {
        "optim": {"type": "choice", "values": ["adamw", "adafactor"]},
        "layers": {"type": "int", "low": 1, "high": 4},
        "rate": {"type": "float", "low": 0.0, "high": 1.0},
        "a": {"type": "int", "low": 1, "high": 2, "when": when},
        "b": {"type": "int", "low": 1, "high": 2},
    }
    with pytest.raises(ValidationError, match=fault):
        Space.model_validate(space)


@pytest.mark.parametrize(
    ("condition", "values"),
    [
        (">= 3", [3, 4]),
        ("> 1 and <= 3", [2, 3]),
        ("!= 2", [1, 3, 4]),
        ("== 2.0", [2]),
        (["< 2", 4], [1, 4]),
    ],
)
def test_a_condition_compares(condition: Any, values: list[int]) -> None:
    layers, x = int_range(low=1, high=4), {**int_range(low=0, high=9), "when": {"n": condition}}
    made = space(n=layers, x=x)
    active = [n for n in range(1, 5) if "x" in made.active({"n": n, "x": 1})]
    assert active == values
    assert made.size() == 4 + 9 * len(values)
    again = space(n={"type": "choice", "values": [1, 2, 3, 4]}, x=x)
    assert again.size() == made.size()


def test_comparisons_with_a_float_or_a_wide_range_are_counted() -> None:
    rate = {"type": "float", "low": 0.0, "high": 1.0, "step": 0.1}
    x = {**int_range(low=0, high=1), "when": {"n": ">= 0.3 and < 0.7"}}
    assert space(n=rate, x=x).size() == 11 + 4
    wide = {"type": "int", "low": 0, "high": 10**9}
    x = {**x, "when": {"n": "> 1000"}}
    assert space(n=wide, x=x).size() == 10**9 + 1 + (10**9 - 1000)


def test_nothing_grows_with_the_width_of_a_range() -> None:
    wide = {"type": "int", "low": 0, "high": 10**9}
    only = {"optim": "sgd"}
    optim = {"type": "choice", "values": ["adamw", "sgd"]}
    assert space(optim=optim, steps={**wide, "when": only}).size() == 10**9 + 2
    three = {name: {**wide, "high": 1000, "when": only} for name in "abc"}
    assert space(optim=optim, **three).size() == 1 + 1001**3
    named = {"a": wide, "b": {**wide, "when": {"a": [1, 2]}}, "c": {**wide, "when": {"b": 5}}}
    # Without b: all but two values of a. With it, 5 brings all values of c along.
    assert space(**named).size() == 10**9 - 1 + 2 * (10**9 + 10**9 + 1)
    assert space(x=float_range(step=1e-9))["x"].point(0) == 0.0


def test_conditions_that_combine_in_too_many_ways_are_not_counted() -> None:
    flags = {f"a{i}": {"type": "choice", "values": [0, 1]} for i in range(20)}
    needy = {f"b{i}": {"type": "int", "low": 0, "high": 1, "when": {f"a{i}": 1}} for i in range(20)}
    assert space(**flags, **needy).size() is None
    paired = {k: v for i in range(20) for k, v in list({**flags, **needy}.items())[i::20]}
    assert space(**paired).size() == 3**20
