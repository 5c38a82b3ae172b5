"""What only transformers can refuse, found before any trial starts."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from hpo_pipeline.experiment.loading import read
from hpo_pipeline.jobs.check import OWN_ARGUMENTS, argument_faults


@pytest.fixture
def check(write_experiment, tiny_bert, sentences):
    """Return a function that checks an experiment on the tiny model with these task fields."""

    def check(task: str = "", model: object = tiny_bert, **sections: str) -> list[str]:
        text = f"kind: text-classification\nmodel: {model}\ndata: {sentences}\n{task}"
        _, faults, sound = read(write_experiment(task=text, **sections))
        assert not faults
        return argument_faults(sound)

    return check


def test_the_toy_experiment_has_no_faults(check) -> None:
    assert check("training: {num_train_epochs: 2}\nconfig: {hidden_dropout_prob: 0.2}") == []


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (
            "training: {learning_rat: 1e-3}",
            "task.training.learning_rat: no field of TrainingArguments; did you mean learning_rate",
        ),
        ("training: {xyzzy: 1}", "task.training.xyzzy: no field of TrainingArguments$"),
        ("training: {seed: 3}", "task.training.seed: is not for experiments: it is search.seed"),
        ("training: {optim: nonsense}", "task.training: .*nonsense.* got {'optim': 'nonsense'}"),
        (
            "training: {lr_scheduler_type: zigzag}",
            "task.training: .*zigzag.? is not a valid SchedulerType",
        ),
        (
            "training: {logging_first_step: much}",
            "task.training: logging_first_step is bool, got .*'much'",
        ),
        ("training: {max_steps: 2.5}", "task.training: max_steps is int, got {'max_steps': 2.5}"),
        ("training: {bf16: no}", "task.training: bf16 is bool, got {'bf16': 'no'}"),
        ("training: {eval_strategy: no}", "task.training: a trial must be evaluated, by epoch or"),
        ("training: {eval_strategy: never}", "task.training: .*never"),
        ("training: {accelerator_config: none.json}", "task.training: .*none.json"),
        (
            "config: {num_hidden_layer: 1}",
            "task.config.num_hidden_layer: no field of the config .*mean num_hidden_layers",
        ),
        ("config: {save_pretrained: 1}", "task.config.save_pretrained: no field of the config"),
        ("config: {num_hidden_layers: 9}", "task.config.num_hidden_layers: .*2 layers, got .9."),
        ("metrics: {mine: nowhere:f}", "task.metrics.mine: the metric nowhere:f cannot be loaded"),
        ("metrics: {mine: math:nothing}", "task.metrics.mine: .*no attribute 'nothing'"),
        (
            "metrics: {mine: math:pi}",
            "task.metrics.mine: .* math:pi is not a function, got 3",
        ),
    ],
)
def test_a_fault_of_the_task_is_found(check, task: str, message: str) -> None:
    faults = check(task)
    assert len(faults) == 1
    assert re.match(message, faults[0]), faults[0]


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ("weight_deca: {type: float, low: 0, high: 1}", "space.weight_deca: .*mean weight_decay"),
        ("max_steps: {type: float, low: 1, high: 9}", "space.max_steps: max_steps is int, got"),
        ("output_dir: {type: choice, values: [a]}", "space.output_dir: is not for experiments"),
        ("optim: {type: choice, values: [sgd, nonsense]}", "space.optim: .*got .*'nonsense'"),
        ("model.hidden_siz: {type: int, low: 1, high: 2}", "space.model.hidden_siz: .*hidden_size"),
        ("model.to_dict: {type: choice, values: [1]}", "space.model.to_dict: no field"),
        (
            "model.num_hidden_layers: {type: int, low: 1, high: 3}",
            r"space.model.num_hidden_layers: the pretrained model has 2 layers, got \[1, 3\]",
        ),
        (
            "model.num_hidden_layers: {type: choice, values: [5, 1]}",
            "space.model.num_hidden_layers: the pretrained model has 2 layers",
        ),
    ],
)
def test_a_fault_of_the_space_is_found(check, parameter: str, message: str) -> None:
    faults = check(space=f"{{{parameter}}}")
    assert faults
    assert re.match(message, faults[0]), faults[0]


def test_all_faults_come_at_once(check) -> None:
    task = "training: {a: 1, seed: 1}\nconfig: {b: 1}\nmetrics: {mine: nowhere:f}"
    space = "{c: {type: int, low: 1, high: 2}, model.d: {type: int, low: 1, high: 2}}"
    assert {fault.split(": ")[0] for fault in check(task, space=space)} == {
        *("task.training.a", "task.training.seed", "task.metrics.mine", "task.config.b"),
        *("space.c", "space.model.d"),
    }


def test_a_model_from_scratch_may_have_any_number_of_layers(check) -> None:
    space = "{model.num_hidden_layers: {type: int, low: 1, high: 30}}"
    assert check("from_scratch: true", space=space) == []


def test_a_model_folder_without_weights_is_a_fault_unless_from_scratch(
    check, tiny_bert: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "bare"
    shutil.copytree(tiny_bert, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    assert re.match(r"task\.model: .*has no \*\.safetensors weights", check(model=folder)[0])
    assert check("from_scratch: true", model=folder) == []


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("./none", "task.model: there is no directory"),
        ("../", "task.model: .*cannot be loaded"),
        ("tweets", "task.model: tweets is data, not a model"),
        ("bert", "task.model: bert is an architecture without weights; set from_scratch: true"),
        ("someone/no-model", "task.model: 'someone/no-model' cannot be loaded"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_a_fault(check, model: str, message: str) -> None:
    faults = check(model=model)
    assert len(faults) == 1
    assert re.match(message, faults[0]), faults[0]


def test_an_architecture_by_name_is_a_model_from_scratch(check) -> None:
    assert check("from_scratch: true", model="bert") == []


def test_a_metric_whose_module_fails_to_load_is_a_fault(check, tmp_path, monkeypatch) -> None:
    (tmp_path / "broken_metric.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    faults = check("metrics: {mine: broken_metric:f}")
    assert "ZeroDivisionError: division by zero" in faults[0]


def test_every_argument_that_a_trial_owns_exists() -> None:
    from transformers import TrainingArguments

    assert set(OWN_ARGUMENTS) <= set(TrainingArguments.__dataclass_fields__)


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_size": [1]},
        {"intermediate_size": "16"},
        {"num_hidden_layers": {"a": 1}},
        {"dtype": "os"},
        {"model_type": []},
        {"id2label": 5},
    ],
)
def test_a_config_that_others_broke_is_one_sentence(check, tiny_bert, tmp_path, change) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_bert, folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, **change}), "utf-8")
    (fault,) = check(model=folder)
    assert fault.startswith(f"task.model: '{folder}' cannot be loaded: ")
