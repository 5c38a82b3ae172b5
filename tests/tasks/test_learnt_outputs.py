"""Outputs at the predicted tokens alone: loss, gradients and sums are those of all outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import TrainingArguments

from hpo_pipeline.tasks.generation.learnt_outputs import (
    LanguageTrainer,
    language_sums,
    outputs_at,
    truth_of,
)
from hpo_pipeline.tasks.inputs.token_cutting import IGNORED
from hpo_pipeline.tasks.token_metrics import TokenSums

SIZES = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
MASKED: dict[str, dict[str, Any]] = {
    "BertForMaskedLM": {**SIZES, "intermediate_size": 16},
    "RobertaForMaskedLM": {**SIZES, "intermediate_size": 16},
    "DistilBertForMaskedLM": {"vocab_size": 40, "dim": 16, "n_layers": 1, "n_heads": 2},
    "ElectraForMaskedLM": {**SIZES, "intermediate_size": 16, "embedding_size": 8},
    # It uses the weights of its last layer without calling it.
    "MobileBertForMaskedLM": {
        **SIZES, "hidden_size": 32, "intermediate_size": 16, "embedding_size": 16,
        "true_hidden_size": 16, "intra_bottleneck_size": 16,
    },
}  # fmt: skip
CAUSAL: dict[str, dict[str, Any]] = {
    "GPT2LMHeadModel": {"vocab_size": 40, "n_embd": 16, "n_layer": 1, "n_head": 2},
    "LlamaForCausalLM": {**SIZES, "intermediate_size": 16},
}
CASES = [(name, fields, name in CAUSAL) for name, fields in {**MASKED, **CAUSAL}.items()]


def tiny(name: str, fields: dict[str, Any]) -> Any:
    """Return a model in evaluation mode, so that dropout makes no difference."""
    torch.manual_seed(0)
    kind = getattr(transformers, name)
    return kind(kind.config_class(**fields)).eval()


def batch() -> dict[str, torch.Tensor]:
    """Return three rows, of which the last has nothing to predict."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, 40, (3, 9), generator=generator)
    labels = torch.where(torch.rand(3, 9, generator=generator) < 0.4, ids, IGNORED)
    labels[2] = IGNORED
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


@pytest.mark.parametrize(("name", "fields", "ahead"), CASES, ids=[case[0] for case in CASES])
def test_loss_and_gradients_are_those_of_all_outputs(
    tmp_path: Path, name: str, fields: dict[str, Any], ahead: bool
) -> None:
    model = tiny(name, fields)
    arguments = TrainingArguments(str(tmp_path), report_to="none", use_cpu=True)
    trainer = LanguageTrainer(
        ahead=ahead, measure=lambda model, batches: {}, extras={}, model=model, args=arguments
    )
    found = []
    for loss in (model(**batch()).loss, trainer.compute_loss(model, batch())):
        model.zero_grad()
        loss.backward()
        gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        found.append((loss.detach(), torch.cat(gradients)))
    assert torch.allclose(found[0][0], found[1][0], rtol=1e-5)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-6)
    halved = trainer.compute_loss(
        model, batch(), num_items_in_batch=2 * (truth_of(batch()["labels"], ahead=ahead) >= 0).sum()
    )
    assert halved.item() == pytest.approx(found[0][0].item() / 2, rel=1e-5)


@pytest.mark.parametrize(("name", "fields", "ahead"), CASES, ids=[case[0] for case in CASES])
def test_sums_are_those_of_all_outputs(name: str, fields: dict[str, Any], ahead: bool) -> None:
    model, whole = tiny(name, fields), batch()
    labels = whole.pop("labels")
    found = language_sums(model, [batch()], {}, ahead=ahead)
    expected = TokenSums()
    with torch.no_grad():
        expected.add(model(**whole).logits, truth_of(labels, ahead=ahead))
    assert found.tokens == expected.tokens > 0
    assert found.right == expected.right
    assert found.nats == pytest.approx(expected.nats, rel=1e-6)
    assert [row[1:] for row in found.of_rows] == [row[1:] for row in expected.of_rows]


def test_only_the_places_that_are_asked_for_pass_the_last_layer() -> None:
    model, inputs = tiny("BertForMaskedLM", MASKED["BertForMaskedLM"]), batch()
    where = inputs.pop("labels") != IGNORED
    seen = []
    model.cls.predictions.decoder.register_forward_hook(
        lambda layer, given, output: seen.append(output.shape)
    )
    assert outputs_at(model, where, inputs).shape == (int(where.sum()), 40)
    assert seen == [(1, int(where.sum()), 40)]
    with pytest.raises(ValueError, match="input_ids"):
        outputs_at(model, where, {})
    assert model(**inputs).logits.shape == (3, 9, 40)  # the hook is gone
