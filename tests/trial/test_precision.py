"""Precision: chosen by hardware and width, refused by name where it is not there."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import TrainingArguments

from hpo_pipeline.errors import TrialError
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.trial.own.context import TrialContext
from hpo_pipeline.trial.training import precision
from hpo_pipeline.trial.training.precision import (
    as_saved,
    has_native_bf16,
    own_precision,
    precision_of,
    with_precision,
)

NARROW = SimpleNamespace(config=SimpleNamespace(hidden_size=16))
WIDE = SimpleNamespace(config=SimpleNamespace(d_model=512))
STAGES = SimpleNamespace(config=SimpleNamespace(hidden_sizes=[32, 64, 512]))


@pytest.fixture
def arguments(tmp_path: Path) -> TrainingArguments:
    """Return the arguments of a training without a choice."""
    return TrainingArguments(str(tmp_path), report_to="none")


@pytest.mark.parametrize(
    ("is_native", "model", "expected"),
    [
        (True, WIDE, "bf16"),
        (True, STAGES, "bf16"),
        (True, NARROW, "fp32"),
        (True, SimpleNamespace(config=SimpleNamespace()), "fp32"),
        (False, WIDE, "fp32"),
    ],
)
def test_auto_asks_the_hardware_and_the_model(
    arguments: Any, monkeypatch: pytest.MonkeyPatch, is_native: bool, model: Any, expected: str
) -> None:
    monkeypatch.setattr(precision, "has_native_bf16", lambda: is_native)
    assert precision_of(with_precision(arguments, "auto", model)) == expected
    assert precision_of(with_precision(arguments, "auto", model, ["bf16"])) == "fp32"


def test_a_choice_by_name_holds_or_is_refused(
    arguments: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "has_native_bf16", lambda: True)
    chosen = with_precision(arguments, "bf16", NARROW)
    assert precision_of(chosen) == "bf16"
    assert precision_of(with_precision(chosen, "auto", NARROW)) == "bf16"
    assert precision_of(with_precision(chosen, "fp32", WIDE)) == "bf16"
    assert precision_of(with_precision(arguments, "fp32", WIDE)) == "fp32"
    monkeypatch.setattr(precision, "has_native_bf16", lambda: False)
    with pytest.raises(TrialError, match=r"task\.precision: bf16 is not native here"):
        with_precision(arguments, "bf16", WIDE)
    if not torch.cuda.is_available():
        with pytest.raises(TrialError, match=r"task\.precision: fp16 needs a GPU"):
            with_precision(arguments, "fp16", WIDE)


@pytest.mark.parametrize(("wanted", "expected"), [("bf16", "bf16"), ("auto", "fp32")])
def test_arguments_of_an_own_trainer_have_the_precision_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: str, expected: str
) -> None:
    monkeypatch.setattr(precision, "has_native_bf16", lambda: True)
    task = Task.model_validate({"kind": "custom", "trainer": "mine:build", "precision": wanted})
    context = TrialContext("t", 0, {}, task, tmp_path, tmp_path / "output", tmp_path)
    assert precision_of(context.arguments) == expected


@pytest.mark.skipif(not has_native_bf16(), reason="this machine computes no bfloat16")
def test_a_wide_model_trains_in_bfloat16_and_keeps_its_weights_in_single(tmp_path: Path) -> None:
    from transformers import BertConfig, BertForSequenceClassification, Trainer

    config = BertConfig(
        vocab_size=20, hidden_size=256, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16,
    )  # fmt: skip
    model = BertForSequenceClassification(config)
    seen = []
    model.bert.encoder.layer[0].intermediate.register_forward_hook(
        lambda module, inputs, output: seen.append(output.dtype)
    )
    arguments = TrainingArguments(
        str(tmp_path), max_steps=1, report_to="none", dataloader_pin_memory=False, disable_tqdm=True
    )
    rows = [{"input_ids": [1, 2, 3], "labels": i % 2} for i in range(4)]
    trainer = Trainer(model, with_precision(arguments, "auto", model), train_dataset=rows)
    trainer.train()
    assert seen == [torch.bfloat16]
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    # An objective that reads a latency has it measured between the steps.
    with own_precision(model):
        model(input_ids=torch.tensor([[1, 2, 3]]))
    model(input_ids=torch.tensor([[1, 2, 3]]))
    assert seen[-2:] == [torch.float32, torch.bfloat16]
    # What is measured and exported is what a deployment loads, without the Trainer's autocast.
    finished = as_saved(trainer).eval()
    answers = finished(input_ids=torch.tensor([[1, 2, 3]])).logits
    assert seen[-1] == torch.float32
    loaded = BertForSequenceClassification(config).eval()
    loaded.load_state_dict(finished.state_dict())
    assert torch.equal(answers, loaded(input_ids=torch.tensor([[1, 2, 3]])).logits)
