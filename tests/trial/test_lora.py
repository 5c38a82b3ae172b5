"""LoRA: what is trained, what is saved, and what `hpo check` says of the settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from hpo_pipeline.data.prepare import prepare
from hpo_pipeline.experiment.loading import load, read
from hpo_pipeline.jobs.check import argument_faults
from hpo_pipeline.results.trial import Trial, TrialState, read_trial
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.trial.__main__ import main
from hpo_pipeline.trial.answering.evaluate import evaluate
from hpo_pipeline.trial.command import TrialCommand
from hpo_pipeline.trial.model.build import build_model
from hpo_pipeline.trial.model.lora import merged
from hpo_pipeline.trial.training.loading import load_data, load_model

LORA = "lora: {rank: 2, alpha: 8, targets: [query, value]}"


@pytest.fixture
def run(write_experiment: Any, tmp_path: Path) -> Any:
    """Return a function that prepares the data and runs one trial."""

    def run_trial(assignments: dict[str, str], **sections: str) -> tuple[Trial, Path, Path]:
        file = write_experiment(**sections)
        dataset = prepare(load(file), tmp_path)
        main(TrialCommand(file, dataset, tmp_path / "trials", "t", 0, assignments).argv())
        trial = read_trial(tmp_path / "trials/t")
        assert trial is not None
        assert trial.state == TrialState.SUCCEEDED, trial.reason
        return trial, file, dataset

    return run_trial


def test_only_adapters_and_the_head_are_trained(write_experiment: Any, tmp_path: Path) -> None:
    experiment = load(write_experiment(extra=LORA))
    task = experiment.task
    data = load_data(task, prepare(experiment, tmp_path))
    model = load_model(task, data)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    adapters = {name for name in trained if "lora_" in name}
    heads = {name for name in trained - adapters if ".classifier.modules_to_save." in name}
    assert len(adapters) == 2 * 2 * 2  # two layers, two targets, two matrices
    assert trained == adapters | heads
    assert len(heads) == 2  # weight and bias
    sizes = [p.numel() for name, p in model.named_parameters() if name in adapters]
    assert sizes == [2 * 16] * 8  # rank x hidden size


def test_the_merged_model_is_saved_as_any_other_and_its_adapter_beside_it(
    run: Any, tiny_bert: Path, tmp_path: Path
) -> None:
    values = {"learning_rate": "0.05", "lora.rank": "4"}
    space = (
        "{learning_rate: {type: float, low: 0.01, high: 0.1}, "
        "lora.rank: {type: int, low: 1, high: 4}}"
    )
    training = "{num_train_epochs: 12, per_device_train_batch_size: 8}"
    trial, file, dataset = run(values, extra=LORA, space=space, training=training)
    saved = tmp_path / "trials/t/model"
    adapter = load_file(saved / "adapter/adapter_model.safetensors")
    query = next(name for name in adapter if "layer.0" in name and "query.lora_A" in name)
    assert adapter[query].shape == (4, 16)
    plain = AutoModelForSequenceClassification.from_pretrained(saved)
    base = AutoModelForSequenceClassification.from_pretrained(tiny_bert)
    weight = "bert.encoder.layer.0.attention.self.query.weight"
    factors = (adapter[query.replace("lora_A", "lora_B")], adapter[query])
    update = 8 / 4 * factors[0] @ factors[1]
    expected = base.state_dict()[weight] + update
    assert torch.allclose(plain.state_dict()[weight], expected, atol=1e-6)
    key = "bert.encoder.layer.1.output.dense.weight"
    assert torch.equal(plain.state_dict()[key], base.state_dict()[key])
    assert trial.metrics["accuracy"] > 0.75  # 0.5 is the share of either label
    assert evaluate(load(file), dataset, saved, 12).metrics["accuracy"] > 0.75


def test_adapters_of_quantised_weights_are_merged_into_a_model_that_is_read_anew(
    write_experiment: Any, tiny_bert: Path, tmp_path: Path
) -> None:
    """The path of `quantize`, without a GPU: what was trained and what is merged into differ."""
    experiment = load(write_experiment(extra=LORA))
    task = experiment.task
    data = load_data(task, prepare(experiment, tmp_path))
    model = load_model(task, data)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.1)  # the frozen ones too: they are not those that are merged into
    fields = TASKS[task.kind].label_fields(task, data.meta.labels)
    found = merged(model, tmp_path / "out", build_model(task, task.model, fields).model)
    base = AutoModelForSequenceClassification.from_pretrained(tiny_bert).state_dict()
    weight = "bert.encoder.layer.0.attention.self.query.weight"
    # Two matrices of rank 2 full of 0.1, times alpha / rank.
    assert torch.allclose(found.state_dict()[weight] - base[weight], torch.tensor(0.08))
    assert torch.equal(found.state_dict()["classifier.weight"], torch.full((2, 16), 0.1))


def test_lora_trains_with_gradient_checkpoints_and_accumulation(run: Any) -> None:
    training = (
        "{num_train_epochs: 3, per_device_train_batch_size: 4, activation_checkpointing: true, "
        "gradient_accumulation_steps: 2}"
    )
    trial, _, _ = run({"learning_rate": "0.1"}, extra=LORA, training=training)
    assert trial.training_steps == 3 * 15  # of 120 rows, eight at a time
    losses = [point.metrics["loss"] for point in trial.curve]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("extra", "space", "fault"),
    [
        ("lora: {rank: 0}", "", "task.lora.rank: "),
        ("lora: {rang: 4}", "", "task.lora.rang: unknown key; allowed are rank, alpha"),
        ("lora: {}\nfreeze: base", "", "task: lora freezes the model by itself"),
        ("quantize: 4bit", "", "task: quantize needs lora"),
        ("lora: {targets: [queri]}", "", "task.lora.targets: 'queri' is no linear layer"),
        ("from_scratch: false", "lora.rank: {type: int, low: 1, high: 4}", "write `lora: {}`"),
        ("lora: {}", "lora.rang: {type: int, low: 1, high: 4}", "only rank, alpha, dropout"),
        ("lora: {}", "lora.rank: {type: int, low: 0, high: 4}", "greater than or equal to 1"),
        (
            "lora: {}",
            "lora.targets: {type: choice, values: [all-linear, 'query,keys']}",
            "space.lora.targets: 'keys' is no linear layer",
        ),
    ],
)
def test_what_cannot_be_adapted_is_found_before_a_trial(
    write_experiment: Any, extra: str, space: str, fault: str
) -> None:
    learning = "learning_rate: {type: float, low: 0.01, high: 0.1}"
    whole = f"{{{learning}{', ' if space else ''}{space}}}"
    _, faults, sections = read(write_experiment(extra=extra, space=whole))
    found = faults or argument_faults(sections)
    assert len(found) == 1
    assert fault in found[0]


def test_four_bits_need_a_gpu(write_experiment: Any, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    file = write_experiment(extra=f"{LORA}\nquantize: 4bit")
    dataset = prepare(load(file), tmp_path)
    values = {"learning_rate": "0.05"}
    assert main(TrialCommand(file, dataset, tmp_path / "trials", "t", 0, values).argv()) == 1
    trial = read_trial(tmp_path / "trials/t")
    assert trial is not None
    assert trial.reason == "task.quantize: needs a GPU, and there is none; leave it out"
