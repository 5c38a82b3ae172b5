"""The configuration that tuning has to beat: what it is, what is said of it, what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from hpo_pipeline.engines.katib.settings import search_settings
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.jobs.baseline import resolved
from hpo_pipeline.search.study import Study
from tests.toys import LR, TASK, faults_of, toy_experiment

LAYERS = {"type": "int", "low": 2, "high": 3}
STOPS = {"algorithm": "threshold", "start_step": 1, "lower": 0.9}


def experiment(**sections: Any) -> Experiment:
    return toy_experiment(**{"baseline": "default", **sections})


def test_a_default_is_that_of_the_library_and_the_value_of_the_file_comes_first() -> None:
    batch = {"type": "choice", "values": [8, 16]}
    found = experiment(space={"learning_rate": LR, "per_device_train_batch_size": batch})
    assert found.found_baseline().values == {
        "learning_rate": 5e-5,
        "per_device_train_batch_size": 8,
    }
    rate = {"type": "float", "low": 1.0, "high": 9.0}
    fixed = experiment(task=TASK | {"lora": {"alpha": 4.0}}, space={"lora.alpha": rate})
    assert fixed.found_baseline().values == {"lora.alpha": 4.0}


@pytest.mark.parametrize(
    ("name", "parameter", "nearest"),
    [
        ("learning_rate", {"type": "float", "low": 1e-4, "high": 1e-2, "log": True}, 1e-4),
        ("learning_rate", {"type": "float", "low": 1e-5, "high": 9e-5, "step": 2e-5}, 5e-5),
        ("num_train_epochs", {"type": "int", "low": 4, "high": 9}, 4),
        ("num_train_epochs", {"type": "choice", "values": [1, 3]}, 3),
        ("per_device_train_batch_size", {"type": "choice", "values": [32, 5, 2]}, 5),
        ("optim", {"type": "choice", "values": ["sgd", "adamw_torch"]}, "adamw_torch"),
        ("lr_scheduler_type", {"type": "choice", "values": ["cosine", "constant"]}, "cosine"),
        ("bf16", {"type": "choice", "values": [True, False]}, False),
    ],
)
def test_a_default_moves_to_the_nearest_value_of_the_space(
    name: str, parameter: dict[str, Any], nearest: object
) -> None:
    found = experiment(space={name: parameter}).found_baseline()
    assert found.values == {name: pytest.approx(nearest) if nearest == 5e-5 else nearest}
    is_default = nearest in (5e-5, 3, False)
    assert [name in note for note in found.notes] == [] if is_default else [True]


def test_parameters_whose_conditions_do_not_hold_are_no_part_of_it() -> None:
    space = {
        "lr_scheduler_type": {"type": "choice", "values": ["linear", "cosine"]},
        "warmup_steps": {"type": "int", "low": 0, "high": 9, "when": {"lr_scheduler_type": "x"}},
    }
    space["warmup_steps"]["when"] = {"lr_scheduler_type": "cosine"}
    assert experiment(space=space).found_baseline().values == {"lr_scheduler_type": "linear"}


def test_a_default_that_breaks_a_rule_moves_to_a_configuration_that_keeps_it() -> None:
    space = {
        "learning_rate": LR,
        "weight_decay": {"type": "float", "low": 0.0, "high": 0.5},
        "per_device_train_batch_size": {"type": "choice", "values": [8, 16, 32]},
    }
    found = experiment(space=space, space_rules=["weight_decay >= 0.1"]).found_baseline()
    assert found.values is not None
    assert found.values["weight_decay"] == pytest.approx(0.1, abs=0.01)
    assert found.values["learning_rate"] == 5e-5
    assert "space_rules moved the defaults to weight_decay=" in found.notes[-1]


def test_what_the_config_of_the_model_has_is_looked_up_once_and_written_out(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"num_hidden_layers": 6}')
    task = TASK | {"model": str(tmp_path)}
    made = experiment(task=task, space={"model.num_hidden_layers": LAYERS, "learning_rate": LR})
    assert made.found_baseline().values is None
    written, found = resolved(made)
    assert written.baseline == {"model.num_hidden_layers": 3, "learning_rate": 5e-5}
    assert found.notes == (
        "model.num_hidden_layers is 3, as the space does not have the default 6",
    )
    assert written.identity() == made.identity()
    asset = experiment(task=TASK | {"model": "minilm"}, space={"model.num_hidden_layers": LAYERS})
    assert resolved(asset)[0].baseline == {"model.num_hidden_layers": 3}


def test_numbers_of_an_asset_are_those_of_its_config() -> None:
    from hpo_pipeline.data.assets import ASSETS, cache_folder, is_fetched

    asset = ASSETS["minilm"]
    assert set(asset.config) >= {"num_hidden_layers", "hidden_size"}
    if is_fetched(asset, cache_folder()):
        text = (asset.folder(cache_folder()) / "config.json").read_text("utf-8")
        assert all(f'"{name}": {value}' in text for name, value in asset.config.items())


@pytest.mark.parametrize(
    ("sections", "why"),
    [
        ({"baseline": "none"}, "the experiment wants none"),
        ({"budget": {"trials": 1}}, "the only trial of the budget is the search's"),
        ({"search": {"algorithm": "katib", "name": "random"}}, "Katib's own algorithms"),
        ({"search": {"algorithm": "pbt"}, "budget": {"trials": 16}}, "of pbt change while"),
        ({"space": {"logging_steps": {"type": "int", "low": 1, "high": 9}}}, "no known default"),
        ({"task": {"kind": "custom", "trainer": "code:trainer"}}, "rate has no known default"),
    ],
)
def test_where_there_is_none_the_reason_is_given(sections: dict[str, Any], why: str) -> None:
    found = experiment(**sections).found_baseline()
    assert found.values is None
    assert why in found.notes[0]


@pytest.mark.parametrize(
    ("sections", "fault"),
    [
        ({"baseline": "{learning_rate: 0.5}"}, "baseline.learning_rate: must be a number"),
        ({"baseline": "{weight_decay: 0}"}, "baseline.weight_decay: not in the space (learning_r"),
        ({"baseline": "usual"}, "baseline: must be default, none, or values of parameters such as"),
        ({"baseline": "{learning_rate: [1]}"}, "baseline: learning_rate: must be true, false, a"),
        ({"baseline": "{}"}, "baseline: must be default, none, or values"),
        (
            {"baseline": "{learning_rate: 0.01}", "space_rules": '["learning_rate < 0.001"]'},
            "baseline: breaks the rule 'learning_rate < 0.001'",
        ),
        (
            {
                "baseline": "{learning_rate: 0.01}",
                "search": "{algorithm: pbt}",
                "budget": "{trials: 16}",
            },
            "baseline: the configurations of pbt change while they train: no",
        ),
        (
            {"baseline": "{learning_rate: 0.01}", "task": "{kind: custom, trainer: 'code:made'}",
             "space": "{learning_rate: {type: float, low: 0.001, high: 0.1}, "
                      "depth: {type: int, low: 1, high: 3}}"},
            "baseline: depth missing; what your own code takes by default is not known here",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_and_told_where(
    tmp_path: Path, sections: dict[str, str], fault: str
) -> None:
    assert [found for found in faults_of(tmp_path, **sections) if found.startswith(fault)]


def test_given_values_are_completed_by_the_defaults() -> None:
    space = {"learning_rate": LR, "weight_decay": {"type": "float", "low": 0.0, "high": 0.5}}
    found = experiment(space=space, baseline={"weight_decay": 0.2}).found_baseline()
    assert found.values == {"learning_rate": 5e-5, "weight_decay": 0.2}


@pytest.mark.parametrize("algorithm", ["random", "tpe", "qmc", "cmaes", "genetic", "grid"])
def test_it_is_asked_for_first_whatever_the_algorithm(algorithm: str) -> None:
    space = {
        "learning_rate": LR | ({"log": False, "step": 1e-5} if algorithm == "grid" else {}),
        "weight_decay": {"type": "float", "low": 0.0, "high": 0.5, "step": 0.1},
    }
    start = [{"learning_rate": 1e-3, "weight_decay": 0.1}]
    made = experiment(space=space, search={"algorithm": algorithm, "start": start})
    study = Study(made.problem)
    assert study.ask().assignments == {"learning_rate": pytest.approx(5e-5), "weight_decay": 0.0}
    assert study.ask().assignments == start[0]


def test_katib_gets_it_as_the_first_configuration_of_the_settings() -> None:
    settings = search_settings(experiment())
    assert settings["start"] == '[{"learning_rate":"5e-05"}]'
    assert "start" not in search_settings(toy_experiment())


def test_no_rule_stops_it_here_or_where_another_process_asked_for_it() -> None:
    from tests.toys import toy_curve

    made = experiment(stopping=STOPS)
    study = Study(made.problem)
    numbers = [study.ask().number for _ in range(2)]
    assert [study.should_stop(n, toy_curve(0.1)) for n in numbers] == [False, True]
    elsewhere = Study(dataclasses.replace(made.problem))
    elsewhere.admit(1)
    assert [elsewhere.should_stop(n, toy_curve(0.1)) for n in (0, 1)] == [False, True]


@pytest.mark.parametrize(
    ("sections", "fault"),
    [
        ({"register": "{model: m, min_gain: {points: 1, gain: 0.1}}"}, "give gain, or points"),
        ({"register": "{model: m, min_gain: {confidence: 1.0}}"}, "confidence: input should be"),
        ({"register": "{model: m, min_gain: much}"}, "register.min_gain: must be a number, or a"),
        (
            {
                "register": "{model: m, min_gain: {confidence: 0.9}}",
                "objective": "{metric: latency_p50_ms, goal: minimize}",
            },
            "register.min_gain.confidence: latency_p50_ms cannot be computed on samples",
        ),
        (
            {
                "register": "{model: m, min_gain: {confidence: 0.9}}",
                "task": "{kind: text-classification, model: a/b, data: a/b, rows: {test: 40}}",
            },
            "register.min_gain.confidence: needs 50 test rows, and task.rows.test is 40",
        ),
    ],
)
def test_a_confidence_that_the_gate_could_not_have_is_refused(
    tmp_path: Path, sections: dict[str, str], fault: str
) -> None:
    assert [found for found in faults_of(tmp_path, **sections) if fault in found]


def test_points_are_hundredths_and_a_number_stands_for_the_gain() -> None:
    given = [{"points": 0.5, "confidence": 0.9}, 0.01, {"gain": 0.2}]
    sections = [toy_experiment(register={"model": "m", "min_gain": each}) for each in given]
    found = [each.register_.min_gain for each in sections if each.register_]
    assert [each.least for each in found] == [0.005, 0.01, 0.2]
    assert [each.confidence for each in found] == [0.9, None, None]
