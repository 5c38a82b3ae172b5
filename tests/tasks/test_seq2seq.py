"""Texts from texts: the metrics, and a tiny T5 that learns to answer."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from hpo_pipeline.experiment.loading import load, read
from hpo_pipeline.jobs.check import argument_faults
from hpo_pipeline.results.trial import TrialState
from hpo_pipeline.tasks.generation_metrics import generation_metrics
from hpo_pipeline.trial.evaluate import evaluate
from tests.conftest import BAD, GOOD
from tests.tasks.prepared import trained


def test_the_metrics_are_those_of_other_programs() -> None:
    predictions = ["The cat sat on the mat.", "a quick fox"]
    references = ["the cat is on the mat", "a quick brown fox"]
    found = generation_metrics(predictions, references)
    # By hand: 5 of 6 and 6 words; 3 of 3 and 4. Bigrams: 3 of 5 and 5; 1 of 2 and 3.
    assert found["rouge1"] == pytest.approx((5 / 6 + 6 / 7) / 2, rel=1e-9)
    assert found["rouge2"] == pytest.approx((3 / 5 + 2 / 5) / 2, rel=1e-9)
    assert found["rougeL"] == pytest.approx((5 / 6 + 6 / 7) / 2, rel=1e-9)
    assert found["exact_match"] == 0
    same = generation_metrics(references, references)
    assert [same[n] for n in ("rouge1", "rougeL", "exact_match")] == [1, 1, 1]
    assert same["bleu"] == pytest.approx(100, rel=1e-9)
    assert same["chrf"] == pytest.approx(100, rel=1e-9)


def pairs(count: int, seed: int) -> dict[str, list[str]]:
    """Words of which the target names the sort."""
    rng = random.Random(seed)
    words = [rng.choice(GOOD + BAD) for _ in range(count)]
    return {"input": words, "label": ["it is good" if w in GOOD else "it is bad" for w in words]}


TASK = """\
kind: seq2seq
model: {model}
data: some/data
from_scratch: true
vocab_size: 300
tokenizer: bpe
max_length: 16
max_target_length: 12
config: {config}
training: {{num_train_epochs: 4, per_device_train_batch_size: 8}}
"""
T5 = "{d_model: 32, d_kv: 16, d_ff: 32, num_layers: 1, num_decoder_layers: 1, num_heads: 2}"


def test_a_model_from_scratch_learns(write_experiment: Any, tmp_path: Path) -> None:
    space = (
        "{learning_rate: {type: float, low: 1.0e-3, high: 1.0e-1, log: true}, "
        "task.num_beams: {type: choice, values: [1, 2]}}"
    )
    task = TASK.format(model="t5", config=T5)
    objective = "{metric: rougeL, goal: maximize}"
    file = write_experiment(task=task, objective=objective, space=space)
    _, faults, sections = read(file)
    assert faults + argument_faults(sections) == []
    splits = {"train": pairs(120, 1), "validation": pairs(16, 2), "test": pairs(16, 3)}
    values = {"learning_rate": "0.01", "task.num_beams": "2"}
    trial, dataset = trained(file, splits, tmp_path, values)
    assert trial.state == TrialState.SUCCEEDED, trial.reason
    assert trial.curve[-1].metrics["loss"] < 0.6 * trial.curve[0].metrics["loss"]
    assert trial.metrics["rougeL"] > 0.6
    tested = evaluate(load(file), dataset, tmp_path / "trials/t/model", 16).metrics
    assert tested["rougeL"] > 0.5
    assert '"num_beams": 2' in (tmp_path / "trials/t/model/generation_config.json").read_text()


def test_a_model_without_a_decoder_is_found_by_the_check(write_experiment: Any) -> None:
    config = "{hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2}"
    task = TASK.format(model="bert", config=config)
    file = write_experiment(task=task, objective="{metric: loss, goal: minimize}")
    assert "bert is not an encoder with a decoder" in argument_faults(read(file)[2])[0]
