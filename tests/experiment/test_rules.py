"""Rules between parameters: the language, what is wrong with a rule, and how many keep them."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpo_pipeline.experiment.checks.notes import notes, size_text
from hpo_pipeline.experiment.rules import DEFAULTS, bound
from hpo_pipeline.experiment.rules.drawing import draw, several
from hpo_pipeline.experiment.rules.nearest import nearest
from hpo_pipeline.experiment.rules.region import Region
from hpo_pipeline.experiment.rules.rule import Rule
from hpo_pipeline.experiment.rules.truth import truth
from hpo_pipeline.experiment.space import Space
from tests.toys import faults_of, toy_experiment

SIZES = {"type": "int", "low": 8, "high": 96, "step": 8}
HEADS = {"type": "int", "low": 1, "high": 12}
SPACE = {
    "model.size": SIZES,
    "model.heads": HEADS,
    "optim": {"type": "choice", "values": ["adamw", "sgd"]},
    "fp16": {"type": "choice", "values": [True, False]},
    "rate": {"type": "float", "low": 0.1, "high": 0.7, "step": 0.1},
}
SPACE_YAML = """{
  model.size: {type: int, low: 8, high: 96}, model.heads: {type: int, low: 1, high: 12},
  learning_rate: {type: float, low: 1.0e-5, high: 1.0e-1, log: true},
  optim: {type: choice, values: [adamw_torch, sgd]}, fp16: {type: choice, values: [true, false]}}"""


def region(*rules: str, **space: Any) -> Region:
    made = Space.model_validate(space or SPACE)
    return Region(made, bound(rules, made, {"task.max_length": 64, **DEFAULTS}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a % b == 0", [True, False, False]),  # the last: no remainder by 0
        ("b == 0 or a % b == 0", [True, False, True]),
        ("not (a / b > 1)", [False, True, False]),
        ("1 < b <= 3", [True, True, False]),
        ("a ** 2 - b // 2 >= 8 and max(a, b) < 5", [True, False, False]),
        ("t == 'x'", [True, False, True]),
        ("t in ['y', 'z'] or a == 9", [False, True, True]),
        ("a not in [4, 9]", [False, True, False]),
        ("flag and t != 'y'", [True, False, False]),
        ("flag == true", [True, True, False]),
        ("-a < -3.5", [True, False, True]),
        ("log(b) >= 0", [True, True, False]),
    ],
)
def test_a_rule_is_computed_for_many_at_once(text: str, expected: list[bool]) -> None:
    columns = {
        "a": np.array([4.0, 2.0, 9.0]),
        "b": np.array([2.0, 3.0, 0.0]),
        "t": np.array(["x", "y", "x"], object),
        "flag": np.array([1.0, 1.0, 0.0]),
    }
    assert truth(Rule(text).tree, columns).yes.tolist() == expected


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("model.sice > 3", "model.sice is neither in the space (model.size, model.heads, "),
        ("lora.rank > 3", "write rank into task.lora"),
        ("optim == 'sdg'", "'sdg' is none of the values of optim (adamw_torch, sgd)"),
        ("optim > 3", "an order takes a number, and optim is a text"),
        ("optim in ['sgd', 3]", "optim is a text, and 3 is a number"),
        ("fp16 and model.size", "and takes true or false, and model.size is a number"),
        ("model.size + 1", "must be a condition such as 'lora.alpha >= lora.rank'"),
        ("learning_rate", "must be a condition, got 'learning_rate'"),
        ("__import__('os') == 1", "allowed are parameters, numbers"),
        ("model.size[0] > 1", "allowed are parameters, numbers"),
        ("model.size = 3", "not a formula"),
        ("model.size > 100", "no configuration keeps 'model.size > 100' (model.size is 8 to 96)"),
        ("learning_rate == 0.001", "none of 262,144 configurations that were drawn keeps"),
        (
            "per_device_train_batch_size > 9",
            "no configuration keeps 'per_device_train_batch_size > 9' "
            "(per_device_train_batch_size is 8)",
        ),
    ],
)
def test_a_wrong_rule_is_found(tmp_path: Path, rule: str, said: str) -> None:
    faults = faults_of(tmp_path, space=SPACE_YAML, space_rules=f'["{rule}"]')
    assert len(faults) == 1
    assert faults[0].startswith("space_rules.0: ")
    assert said in faults[0]


def test_rules_that_exclude_each_other_are_found(tmp_path: Path) -> None:
    rules = '["model.size > 50", "model.size < model.heads"]'
    assert faults_of(tmp_path, space=SPACE_YAML, space_rules=rules) == [
        "space_rules: no configuration keeps all of 'model.size > 50' and "
        "'model.size < model.heads'; relax one of them, or widen the space"
    ]


def test_rules_read_what_the_task_fixes(tmp_path: Path) -> None:
    rules = '["task.max_length >= 64", "model.size % model.groups == 0", "warmup_steps < 9"]'
    task = "{kind: text-classification, model: some/model, data: some/data, max_length: 64,"
    task += " config: {groups: 4}, training: {warmup_steps: 5}}"
    assert faults_of(tmp_path, space=SPACE_YAML, space_rules=rules, task=task) == []


def test_a_start_that_breaks_a_rule_is_refused(tmp_path: Path) -> None:
    start = "{model.size: 8, model.heads: 3, learning_rate: 1.0e-4, optim: sgd, fp16: true}"
    faults = faults_of(
        tmp_path,
        space=SPACE_YAML,
        space_rules='["model.size % model.heads == 0", "fp16 or optim == \'sgd\'"]',
        search=f"{{algorithm: random, start: [{start}]}}",
    )
    assert faults == ["search.start.0: breaks the rule 'model.size % model.heads == 0'"]


def test_what_cannot_keep_rules_is_refused(tmp_path: Path) -> None:
    rules = '["model.size > 9"]'
    stock = faults_of(
        tmp_path, space=SPACE_YAML, space_rules=rules, search="{algorithm: 'katib:random'}"
    )
    assert stock == [
        "search.algorithm: katib knows no rules (space_rules) and would propose trials that "
        "break them; use random or tpe"
    ]


def test_a_rule_without_effect_is_noted() -> None:
    rules = ["model.size >= model.heads - 4", "model.size > model.heads"]
    made = toy_experiment(space={"model.size": SIZES, "model.heads": HEADS}, space_rules=rules)
    assert notes(made) == [
        "space_rules.0: no configuration breaks 'model.size >= model.heads - 4'; it has no effect"
    ]
    kept = sum(s > h for s in range(8, 97, 8) for h in range(1, 13))
    assert size_text(made.problem) == f"{kept} configurations keep the rules"


def test_a_count_is_exact_or_said_to_be_an_estimate() -> None:
    rules = ("model.size % model.heads == 0", "fp16 or optim == 'sgd'", "rate != 0.3")
    kept = 0
    made = Space.model_validate(SPACE)
    values = [[made[n].point(i) for i in range(made[n].count() or 0)] for n in made]
    for size, heads, optim, fp16, rate in itertools.product(*values):
        kept += size % heads == 0 and (fp16 or optim == "sgd") and rate != 0.3  # type: ignore[operator]
    assert region(*rules).size() == kept
    wide = {"type": "int", "low": 1, "high": 10**6}
    assert region("a >= b", a=wide, b=wide).size() is None
    assert region("a == 7", "b < 3", a=wide, b=wide).size() == 2
    big = toy_experiment(space={"warmup_steps": wide, "max_steps": wide})
    big = big.model_copy(update={"space_rules": ("warmup_steps < max_steps",)})
    said = size_text(big.problem)
    assert said == "about 0.5 of the space keeps the rules (estimated): about 5e+11 configurations"


WHEN = {
    "optim": {"type": "choice", "values": ["adamw", "sgd"]},
    "momentum": {"type": "int", "low": 0, "high": 9, "when": {"optim": "sgd"}},
    "warmup": {"type": "int", "low": 0, "high": 9},
}


def test_a_rule_with_an_inactive_parameter_does_not_apply() -> None:
    made = region("momentum > warmup", **WHEN)
    assert made.broken({"optim": "sgd", "momentum": 3, "warmup": 5}) == ["momentum > warmup"]
    assert made.broken({"optim": "adamw", "momentum": 3, "warmup": 5}) == []
    assert made.broken({"optim": "adamw", "warmup": 5}) == []
    assert made.size() == 10 + 45


def test_draws_are_as_random_search_that_is_lucky() -> None:
    made = region("a * b <= 6", a={**HEADS, "log": True}, b={"type": "int", "low": 1, "high": 6})
    rng = np.random.default_rng(0)
    drawn = several(made, rng, 8_000)
    assert drawn is not None
    # The whole group, listed, with the probability that each point has without rules.
    listed = made.listed(("a", "b"))
    assert listed is not None
    weights = made.axes["a"].weights(listed["a"]) * made.axes["b"].weights(listed["b"])
    for a, b, weight in zip(listed["a"], listed["b"], weights / weights.sum(), strict=True):
        share = float(((drawn["a"] == a) & (drawn["b"] == b)).mean())
        assert share == pytest.approx(float(weight), abs=4 * (weight / 8_000) ** 0.5 + 1e-4)


@pytest.mark.parametrize(
    "rule",
    [
        "x <= 0.0001",
        "x + y <= 0.00001",  # one in 20 thousand millions
        "n == 7 and m == 9 and k == 11",
        "n * m == k and k > 990",
        "log(y) < -16 or x > 0.999999",
    ],
)
def test_what_hardly_any_configuration_keeps_is_found(rule: str) -> None:
    unit = {"type": "float", "low": 0.0, "high": 1.0}
    wide = {"type": "int", "low": 1, "high": 1000}
    made = region(rule, x=unit, y=unit, n=wide, m=wide, k=wide)
    rng = np.random.default_rng(5)
    for _ in range(3):
        found = draw(made, rng)
        assert found is not None
        assert made.broken(found) == []


def test_given_values_are_kept() -> None:
    made = region("model.size % model.heads == 0", "rate != 0.3")
    found = draw(made, np.random.default_rng(0), {"model.heads": 7})
    assert found is not None
    assert found["model.heads"] == 7
    assert found["model.size"] == 56
    assert draw(made, np.random.default_rng(0), {"model.heads": 11, "model.size": 8}) is None


def test_the_nearest_is_near_and_changes_only_what_it_must() -> None:
    made = region("model.size % model.heads == 0")
    wish = {"model.size": 40, "model.heads": 7, "optim": "sgd", "fp16": True, "rate": 0.5}
    found = nearest(made, wish, np.random.default_rng(0))
    assert found == {**wish, "model.heads": 8}
    plane = region(
        "x >= y",
        x={"type": "float", "low": 0.0, "high": 1.0},
        y={"type": "float", "low": 0.0, "high": 1.0},
    )
    point = nearest(plane, {"x": 0.2, "y": 0.6}, np.random.default_rng(0))
    assert point is not None
    assert point == pytest.approx({"x": 0.4, "y": 0.4}, abs=0.05)


def test_defaults_of_arguments_are_those_of_a_trial() -> None:
    import dataclasses

    from transformers import TrainingArguments

    from hpo_pipeline.trial.training.loading import DEFAULTS as OURS

    theirs = {field.name: field.default for field in dataclasses.fields(TrainingArguments)}
    assert {name: {**theirs, **OURS}[name] for name in DEFAULTS} == DEFAULTS
