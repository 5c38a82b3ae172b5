"""Faults that are seen before anything is trained: values, goals, credentials, paths, amounts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from hpo_pipeline.engines.local import faults
from hpo_pipeline.experiment.checks.argument_ranges import range_fault
from hpo_pipeline.experiment.checks.notes import notes
from tests.toys import TASK, faults_of, toy_experiment

MIN = "kind: text-classification, model: some/model, data: some/data"


@pytest.mark.parametrize(
    ("parameter", "said"),
    [
        ("learning_rate: {type: float, low: -0.1, high: 0.1}", "must be above 0, got -0.1"),
        ("num_train_epochs: {type: int, low: 0, high: 3}", "must be above 0, got 0"),
        ("per_device_train_batch_size: {type: choice, values: [8, -8]}", "at least 1, got -8"),
        ("gradient_accumulation_steps: {type: int, low: 0, high: 2}", "at least 1, got 0"),
        ("adam_beta2: {type: float, low: 0.9, high: 1.0}", "at least 0 and below 1, got 1.0"),
        ("label_smoothing_factor: {type: float, low: 0.0, high: 1.5}", "at most 1, got 1.5"),
        ("model.attention_probs_dropout_prob: {type: float, low: 0.0, high: 2.0}", "at most 1"),
        ("model.num_hidden_layers: {type: int, low: -1, high: 2}", "at least 1, got -1"),
        ("learning_rate: {type: choice, values: [a, b]}", "must be a number, got 'a'"),
    ],
)
def test_a_value_that_no_trial_can_have_is_refused(
    tmp_path: Path, parameter: str, said: str
) -> None:
    (fault,) = faults_of(tmp_path, space=f"{{{parameter}}}")
    assert fault.startswith(f"space.{parameter.split(':')[0]}: ")
    assert said in fault


def test_fixed_values_are_looked_at_too_and_odd_ones_leave_the_other_checks_alone(
    tmp_path: Path,
) -> None:
    for value in ('"x"', "1Gi", "{a: 1}"):
        found = faults_of(
            tmp_path,
            task=f"{{{MIN}, training: {{num_train_epochs: {value}}}}}",
            stopping="{algorithm: hyperband}",
        )
        assert any("task.training.num_train_epochs: must be a number" in f for f in found), found
    assert range_fault("max_steps", [-1]) is None
    assert range_fault("model.num_labels", [0]) is None


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        ("{metric: accuracy, goal: minimize}", "objective.goal: accuracy is better when higher"),
        ("{metric: loss, goal: maximize}", "objective.goal: loss is better when lower"),
        (
            "[{metric: f1, goal: maximize}, {metric: latency_p95_ms, goal: maximize}]",
            "objective.1.goal: latency_p95_ms is better when lower, so the goal must be minimize",
        ),
    ],
)
def test_a_search_for_the_worst_is_refused(tmp_path: Path, objective: str, said: str) -> None:
    (fault,) = faults_of(tmp_path, objective=objective)
    assert said in fault


def test_a_formula_and_an_own_metric_may_go_either_way(tmp_path: Path) -> None:
    assert faults_of(tmp_path, objective='{score: "accuracy - loss", goal: minimize}') == []
    task = f"{{{MIN}, metrics: {{mine: m:mine}}}}"
    assert faults_of(tmp_path, task=task, objective="{metric: mine, goal: minimize}") == []


@pytest.mark.parametrize(
    ("section", "text", "said"),
    [
        ("task", f"{{{MIN}, training: {{hub_token: hf_x}}}}", "training.hub_token: credentials"),
        ("cluster", "{env: {HF_TOKEN: hf_x}}", "HF_TOKEN: {secretKeyRef: {name: SECRET"),
        ("cluster", "{env: {AWS_ACCESS_KEY_ID: x}}", "credentials must come from a secret"),
        ("register", '{model: m, registry: "mlflow://u:p@host:5000"}', "without user and password"),
        ("register", '{model: m, registry: "mlflow://"}', "must be SCHEME://HOST:PORT"),
        ("register", '{model: m, registry: "http://[::1"}', "register.registry: must be a URI"),
        ("cluster", '{storage: {uri: "s3://key:secret@bucket/x"}}', "got some in s3://…@bucket"),
        ("search", '{warm_start: ["mlflow://u@host/m"]}', "without user and password"),
        ("budget", "{trials: 3, minutes: 1.0e+308}", "less than or equal to 525600"),
    ],
)
def test_credentials_and_amounts_out_of_reason_are_refused(
    tmp_path: Path, section: str, text: str, said: str
) -> None:
    (fault,) = faults_of(tmp_path, **{section: text})
    assert said in fault
    assert "secret@" not in fault.split("got some")[0]


def test_names_that_only_look_like_credentials_are_allowed(tmp_path: Path) -> None:
    cluster = (
        "{env: {TOKENIZERS_PARALLELISM: 'false', SSL_KEY_FILE: /k, "
        "HF_TOKEN: {secretKeyRef: {name: s, key: k}}}, "
        "storage: {uri: 'abfs://container@account.dfs.core.windows.net/x'}}"
    )
    assert faults_of(tmp_path, cluster=cluster) == []


def test_a_text_that_cannot_be_written_is_refused_in_python_too() -> None:
    with pytest.raises(ValidationError, match="cannot be written as JSON"):
        toy_experiment(cluster={"affinity": {"a": "\ud800"}})


def test_an_experiment_that_no_config_map_holds_is_refused() -> None:
    many = [{"learning_rate": 1e-3 + n * 1e-6, "weight_decay": 0.123456789} for n in range(1000)]
    space = {name: {"type": "float", "low": 1e-5, "high": 0.5} for name in many[0]}
    search = {"algorithm": "random", "start": many}
    assert len(toy_experiment(space=space, search=search).search.start) == 1000
    with pytest.raises(ValidationError, match="at most 100,000 characters as JSON"):
        toy_experiment(space=space, search=search, cluster={"env": {"A": "x" * 50_000}})


def test_amounts_are_bounded_and_many_parameters_are_cheap(tmp_path: Path) -> None:
    many = ", ".join(f"model.p{i}: {{type: int, low: 1, high: 2}}" for i in range(3000))
    begin = time.process_time()
    found = faults_of(tmp_path, space=f"{{{many}}}")
    assert any("at most 200 parameters, got 3000" in fault for fault in found)
    assert time.process_time() - begin < 15
    limits = ", ".join(["latency_p95_ms <= 1"] * 51)
    assert (
        "constraints: must have at most 50 entries"
        in faults_of(tmp_path, constraints=f"[{limits}]")[0]
    )


@pytest.mark.parametrize(
    ("stopping", "said"),
    [
        ({"algorithm": "asha", "grace_period": 5}, "asha first judges a trial at evaluation 5"),
        (
            {"algorithm": "hyperband", "resource": "epoch", "grace_period": 3},
            "at epoch 3, and",
        ),
        ({"algorithm": "median", "start_step": 100}, "stopping.start_step: median first judges"),
        ({"algorithm": "median", "min_trials": 30}, "before 30 have finished"),
        ({"algorithm": "percentile", "min_trials": 10}, "budget.trials is 10; it can never act"),
        ({"algorithm": "patience", "patience": 5}, "stopping.patience: patience first judges"),
        ({"algorithm": "threshold", "lower": 0.1, "start_step": 4}, "none has more than 3"),
    ],
)
def test_a_stopping_rule_that_can_never_act_is_named(stopping: dict[str, Any], said: str) -> None:
    (note,) = notes(toy_experiment(stopping=stopping))
    assert said in note


@pytest.mark.parametrize(
    "stopping",
    [
        {"algorithm": "none"},
        {"algorithm": "asha", "grace_period": 2},
        {"algorithm": "median", "min_trials": 9, "start_step": 2},
        {"algorithm": "patience", "patience": 1},
    ],
)
def test_a_rule_that_can_act_is_not(stopping: dict[str, Any]) -> None:
    assert notes(toy_experiment(stopping=stopping)) == []


def test_a_rule_is_not_judged_where_steps_decide_how_long_a_trial_is() -> None:
    task = {**TASK, "training": {"max_steps": 500, "eval_strategy": "steps", "eval_steps": 10}}
    stopping = {"algorithm": "asha", "grace_period": 5}
    assert notes(toy_experiment(task=task, stopping=stopping)) == []


def test_a_grid_that_ends_before_the_budget_is_named() -> None:
    space = {"weight_decay": {"type": "float", "low": 0.0, "high": 0.2, "step": 0.1}}
    made = toy_experiment(space=space, search={"algorithm": "grid"})
    assert notes(made) == [
        "budget.trials: the search ends after 3, for the space has no more configurations; got 10"
    ]


def test_a_path_that_no_file_can_have_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "sub").mkdir()
    for name, said in (("./loop", "loop"), ("sub/" + "x" * 300, "too long")):
        (fault,) = faults_of(
            tmp_path, task=f"{{kind: text-classification, model: m, data: {name}}}"
        )
        assert fault.startswith("task.data: cannot be a path (")
        assert said in fault


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"name": "My-Tweets"}, "name: must be 1 to 40 of a-z"),
        ({"register": "{model: Best Model}"}, "register.model: must be 1 to 63 of a-z, 0-9, . _"),
        ({"cluster": "{namespace: Team A}"}, "cluster.namespace: must be 1 to 63 of a-z"),
        ({"stopping": "asha"}, "stopping: must be a mapping such as {algorithm: median}, got"),
        ({"search": "tpe"}, "search: must be a mapping such as {algorithm: tpe}, got 'tpe'"),
    ],
)
def test_a_name_or_shape_that_is_refused_comes_with_what_is_allowed(
    tmp_path: Path, sections: dict[str, str], said: str
) -> None:
    (fault,) = faults_of(tmp_path, **sections)
    assert said in fault


def test_an_algorithm_that_does_not_serve_the_objectives_names_those_that_do(
    tmp_path: Path,
) -> None:
    (fault,) = faults_of(tmp_path, search="{algorithm: nsga2}")
    assert fault == "search.algorithm: nsga2 needs several objectives; use genetic for one"
    two = "[{metric: f1, goal: maximize}, {metric: latency_p95_ms, goal: minimize}]"
    (fault,) = faults_of(tmp_path, search="{algorithm: genetic}", objective=two)
    assert "genetic serves one objective; use nsga2 or tpe or gp, or combine them" in fault


def test_an_interval_of_few_rows_is_noted() -> None:
    made = {
        "task": {**TASK, "rows": {"train": 120, "validation": 60, "test": 200}},
        "constraints": ["latency_p95_ms <= 5"],
    }
    (note,) = notes(toy_experiment(**made))
    assert "needs 72 different rows, and validation has 60; they are repeated" in note
    assert notes(toy_experiment(**made, serve={"lengths": [4, 8]})) == []


def test_packages_that_are_missing_are_said_before_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "find_spec", lambda name: None)
    (fault,) = faults.faults(toy_experiment(serve={"format": "onnx"}))
    assert "onnx, onnxscript, onnxruntime cannot be imported: pip install" in fault
    assert faults.faults(toy_experiment()) == []
