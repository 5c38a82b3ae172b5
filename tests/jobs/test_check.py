"""What only transformers can refuse, found before any trial starts."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoTokenizer

from hpo_pipeline.experiment.cluster import Cluster
from hpo_pipeline.experiment.loading import read
from hpo_pipeline.jobs.check import argument_faults, device_faults
from hpo_pipeline.jobs.training_checks import OWN_ARGUMENTS
from hpo_pipeline.tasks.inputs.base_config import ConfigRecipe
from hpo_pipeline.trial.model.build import freeze, meta_model
from hpo_pipeline.trial.model.model_pass import pass_fault
from tests.toys import TASK, toy_experiment

FRESH = "from_scratch: true"


@pytest.fixture
def check(write_experiment, tiny_bert, sentences):
    """Return a function that checks an experiment on the tiny model with these task fields."""

    def check(task: str = "", model: object = tiny_bert, **sections: str) -> list[str]:
        task = task if "max_length" in task else f"max_length: 12\n{task}"
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
        ("metrics: {mine: nowhere:f}", "task.metrics.mine: there is no module nowhere beside"),
        ("metrics: {mine: os:abort}", "task.metrics.mine: os is a module of Python; name a func"),
        ("metrics: {mine: rich.table:No}", "task.metrics.mine: table.py has no function No"),
        (
            "training: {optim: adamw_bnb_8bit}",
            "task.training: a package is missing or too old .*bitsandbytes.*'adamw_bnb_8bit'",
        ),
        (
            "training: {lr_scheduler_type: cosine_with_min_lr}",
            "task.training: One of min_lr or min_lr_rate should be set",
        ),
        (
            "training: {lr_scheduler_type: linear, lr_scheduler_kwargs: {cycles: 2}}",
            "task.training: .*unexpected keyword argument 'cycles'",
        ),
        ("training: {label_names: [x]}", "task.training.label_names: is not for experiments: a"),
        ("training: {prediction_loss_only: true}", "task.training.prediction_loss_only: is not"),
        ("max_length: 65", "task.max_length: the model has 64 positions, got 65"),
        (
            "config: {hidden_size: 32}",
            "task.config.hidden_size: the pretrained weights do not fit: 99% of the weights would",
        ),
        ("config: {num_attention_heads: 3}", "task.config.num_attention_heads: the model cannot"),
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
            "model.intermediate_size: {type: choice, values: [32, 64]}",
            r"space.model.intermediate_size: the pretrained weights do not fit: 50% .*got \[64\]",
        ),
        (
            "lr_scheduler_type: {type: choice, values: [linear, warmup_stable_decay]}",
            "space.lr_scheduler_type: .*'num_decay_steps'.*{'lr_scheduler_type': 'warmup_stable",
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


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_precision_that_this_machine_lacks_is_a_fault_unless_a_cluster_trains() -> None:
    task = {**TASK, "precision": "fp16"}
    here = {"task": toy_experiment(task=task).task, "cluster": Cluster()}
    said = "task.precision: fp16 needs a GPU, and there is none; use auto or fp32"
    assert device_faults(here) == [said]
    assert device_faults({**here, "cluster": Cluster(gpus=1)}) == []


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
    assert re.match(r"task\.model: .*has no model\.safetensors weights", check(model=folder)[0])
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
    assert check("from_scratch: true\nvocab_size: 80", model="bert") == []
    assert re.match("task.model: bert is an .*; set vocab_size", check(FRESH, model="bert")[0])


def test_a_metric_is_looked_up_without_running_its_module(check, tmp_path) -> None:
    (tmp_path / "mine.py").write_text("open('ran', 'w')\n1 / 0\ndef share(p, y): ...\n")
    assert check("metrics: {mine: 'mine:share'}") == []
    assert check("metrics: {mine: 'mine:other'}") == [
        "task.metrics.mine: mine.py has no function other"
    ]
    assert not (tmp_path / "ran").exists()


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


def test_weights_that_the_file_names_may_start_at_random(check) -> None:
    space = "{model.num_hidden_layers: {type: choice, values: [2, 3]}}"
    assert check("reinitialise: ['bert.encoder.layer.2.*']", space=space) == []


def altered(model: Path, folder: Path, **fields: object) -> Path:
    """Return a copy of a model folder whose config has these fields."""
    shutil.copytree(model, folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, **fields}), "utf-8")
    return folder


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_hidden_layers": -1}, "num_hidden_layers must be at least 1, got -1"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers must be at most 256, got 1000000000"),
        ({"num_labels": 10**9}, "num_labels must be at most 100000"),
        ({"hidden_size": [1]}, "hidden_size"),
        ({"id2label": 5}, "cannot be loaded"),
        ({"dtype": "os"}, "cannot be loaded"),
        ({"model_type": []}, "cannot be loaded"),
        ({"vocab_size": 10**12}, "vocab_size must be at most 100,000,000"),
        ({"quantization_config": {"quant_method": "awq"}}, "has quantised weights"),
    ],
)
def test_an_odd_config_is_one_sentence(check, tiny_bert, tmp_path, fields, message) -> None:
    faults = check(model=altered(tiny_bert, tmp_path / "odd", **fields))
    assert len(faults) == 1
    assert re.match("task.model: ", faults[0])
    assert re.search(message, faults[0]), faults[0]
    assert "\n" not in faults[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [("[" * 100_000, "cannot be loaded"), ("[]", "must be a mapping"), ("{", "cannot be loaded")],
)
def test_a_config_that_is_none_is_one_sentence(check, tiny_bert, tmp_path, content, message):
    folder = altered(tiny_bert, tmp_path / "odd")
    (folder / "config.json").write_text(content)
    (fault,) = check(model=folder)
    assert message in fault


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
        (b"", "is not a safetensors file"),
        (b"\xff" * 64, "is not a safetensors file"),
        (None, "is cut off or damaged: its header promises"),
    ],
)
def test_weights_that_are_not_whole_are_found(check, tiny_bert, tmp_path, content, message):
    folder = altered(tiny_bert, tmp_path / "cut")
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100] if content is None else content)
    (fault,) = check(model=folder)
    assert message in fault


def test_a_tokenizer_has_to_be_there_and_to_fit(check, tiny_bert, tmp_path) -> None:
    bare = altered(tiny_bert, tmp_path / "bare")
    for file in bare.glob("tokenizer*"):
        file.unlink()
    assert "has no tokenizer" in check(model=bare)[0]
    wider = altered(tiny_bert, tmp_path / "wider")
    tokenizer = AutoTokenizer.from_pretrained(str(wider))
    tokenizer.add_tokens(["more", "words"])
    tokenizer.save_pretrained(str(wider))
    assert "ids up to 33, but the model has embeddings for 32" in check(model=wider)[0]


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("config: {num_hidden_layers: 257}", "num_hidden_layers must be at most 256, got 257"),
        ("config: {hidden_size: 30, num_attention_heads: 4}", "not a multiple of the number of"),
        ("config: {intermediate_size: 0}", "intermediate_size must be at least 1, got 0"),
    ],
)
def test_a_config_from_scratch_that_cannot_be_is_a_fault(check, task, message) -> None:
    (fault,) = check(f"{FRESH}\n{task}")
    assert fault.startswith("task.config: the model cannot be built: ")
    assert message in fault


def test_the_values_to_blame_are_named(check) -> None:
    space = (
        "{model.hidden_size: {type: choice, values: [16, 18]}, "
        "model.num_attention_heads: {type: choice, values: [2, 4]}}"
    )
    (fault,) = check(FRESH, space=space)
    assert fault.startswith("space: with model.hidden_size=18, model.num_attention_heads=4: ")
    rules = "[model.hidden_size % model.num_attention_heads == 0]"
    assert check(FRESH, space=space, space_rules=rules) == []


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ("{depths: [1, 1], hidden_sizes: [8, 16, 32, 64]}", "got [1, 16] X [64, 2]"),
        ("{depths: [1, 1], hidden_sizes: [8, 16]}", None),
        ("{}", None),
    ],
)
def test_layers_that_do_not_fit_each_other_are_found(write_experiment, config, fault) -> None:
    task = f"kind: image-classification\nmodel: resnet\ndata: digits\n{FRESH}\nconfig: {config}"
    found = argument_faults(read(write_experiment(task=task))[2])
    assert len(found) == (fault is not None)
    for said in found:
        assert said.startswith("task.config: a batch does not pass through the model, so choose")
        assert fault in said


@pytest.mark.parametrize("name", ["bert", "gpt2", "modernbert", "t5", "vit", "swin"])
def test_a_model_as_its_architecture_has_it_computes(name: str) -> None:
    config = ConfigRecipe.of(AutoConfig.for_model(name)).build({})
    kind = {"vit": "image-classification", "swin": "image-classification", "t5": "seq2seq"}
    fields = {"kind": kind.get(name, "text-classification"), "model": name, "data": "x"}
    task = toy_experiment(task=fields).task
    model = meta_model(task, config)
    assert pass_fault(model, lambda: pytest.fail("it computes")) is None


@pytest.mark.parametrize("name", ["gpt2", "distilbert", "modernbert", "bart", "llama"])
def test_embeddings_of_any_name_can_be_frozen(name: str) -> None:
    small = {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2}
    small |= {"vocab_size": 40, "pad_token_id": 0}
    recipe = ConfigRecipe.of(AutoConfig.for_model(name))
    task = toy_experiment().task
    model = meta_model(task, recipe.build(small))
    freeze(model, "embeddings")
    assert not any(p.requires_grad for p in model.get_input_embeddings().parameters())
    assert any(p.requires_grad for p in model.base_model.parameters())


@pytest.mark.parametrize(
    ("name", "changes", "followers"),
    [
        ("modernbert", {"num_hidden_layers": 2}, {"layer_types": 2}),
        ("llama", {"num_attention_heads": 4}, {"num_key_value_heads": 4}),
        ("deberta-v2", {"hidden_size": 32}, {"pooler_hidden_size": 32}),
        ("resnet", {"depths": [1, 1], "hidden_sizes": [8, 16]}, {"stage_names": 3}),
        ("swin", {"depths": [1, 1], "num_heads": [2, 2]}, {"num_layers": 2, "hidden_size": 192}),
    ],
)
def test_fields_that_follow_from_others_follow(name, changes, followers) -> None:
    config = ConfigRecipe.of(AutoConfig.for_model(name)).build(changes)
    found = {field: getattr(config, field) for field in followers}
    assert {n: len(v) if isinstance(v, list) else v for n, v in found.items()} == followers


def test_a_config_that_is_built_anew_is_the_same(tiny_bert: Path) -> None:
    config = AutoConfig.from_pretrained(str(tiny_bert))
    again = ConfigRecipe.of(config).build({})
    assert {**again.to_dict(), "architectures": None} == {**config.to_dict(), "architectures": None}
