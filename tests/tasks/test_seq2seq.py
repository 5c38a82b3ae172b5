"""Texts from texts: the metrics, and a tiny T5 that learns to answer."""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hpo_pipeline.experiment.loading import load, read
from hpo_pipeline.jobs.check import argument_faults
from hpo_pipeline.results.trial import TrialState
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.tasks.generation.generation_metrics import generation_metrics
from hpo_pipeline.tasks.inputs.trained_tokenizer import trained_tokenizer
from hpo_pipeline.trial.answering.evaluate import evaluate
from tests.conftest import BAD, GOOD
from tests.tasks.prepared import trained
from tests.toys import toy_experiment


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


PREDICTIONS = (
    "The quick brown fox jumped over a dog.",
    "It is, I think, the best film of the year!",
    "no",
    "two of the three were there, and one of the three was not",
)
REFERENCES = (
    "The quick brown fox jumps over the lazy dog.",
    "I think it is the best film of this year.",
    "not at all",
    "two of the three were not there and one of them was",
)


def ngrams(items: Sequence[str], size: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(items[i : i + size]) for i in range(len(items) - size + 1))


def plain_bleu(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Return BLEU by its paper's formula; words and the marks after them are tokens."""
    tokens = [[re.findall(r"\w+|[^\w\s]", t) for t in ts] for ts in (predictions, references)]
    precisions = []
    for size in (1, 2, 3, 4):
        found = [(ngrams(a, size), ngrams(b, size)) for a, b in zip(*tokens, strict=True)]
        common = sum((a & b).total() for a, b in found)
        precisions.append(common / sum(a.total() for a, _ in found))
    lengths = [sum(map(len, texts)) for texts in tokens]
    brevity = min(1.0, math.exp(1 - lengths[1] / lengths[0]))
    return 100 * brevity * math.prod(precisions) ** 0.25


def plain_chrf(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Return the F2 of n-grams of letters (1 to 6), of all texts, the mean over n."""
    letters = [["".join(text.split()) for text in texts] for texts in (predictions, references)]
    scores = []
    for size in range(1, 7):
        found = [(ngrams(a, size), ngrams(b, size)) for a, b in zip(*letters, strict=True)]
        common = sum((a & b).total() for a, b in found)
        precision = common / sum(a.total() for a, _ in found if a)
        recall = common / sum(b.total() for _, b in found)
        scores.append((precision, recall))
    precision, recall = (sum(column) / 6 for column in zip(*scores, strict=True))
    return 100 * 5 * precision * recall / (4 * precision + recall)


def test_bleu_and_chrf_are_those_of_their_papers() -> None:
    found = generation_metrics(PREDICTIONS, REFERENCES)
    assert 10 < found["bleu"] < 90
    assert found["bleu"] == pytest.approx(plain_bleu(PREDICTIONS, REFERENCES), rel=1e-9)
    assert found["chrf"] == pytest.approx(plain_chrf(PREDICTIONS, REFERENCES), rel=1e-9)


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
    task = load(file).task
    write = TASKS[task.kind].predictor(task, str(tmp_path / "trials/t/model"), batch_size=1)
    written = write([GOOD[0], BAD[0]])
    assert {row["generated_text"] for row in written} <= {"it is good", "it is bad"}
    assert write(BAD[0], num_beams=1) == written[1:]
    assert '"num_beams": 2' in (tmp_path / "trials/t/model/generation_config.json").read_text()


def test_from_scratch_the_decoder_starts_once() -> None:
    tokenizer = trained_tokenizer("bpe", ["a good film"], 300)
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    rows = {"input": ["a"], "label": ["film"]}
    targets = {}
    for from_scratch in (True, False):
        task = {"kind": "seq2seq", "model": "t5", "data": "some/data", "from_scratch": from_scratch}
        experiment = toy_experiment(task=task, objective={"metric": "loss", "goal": "minimize"})
        encoded = TASKS["seq2seq"].encode(experiment.task, rows, tokenizer, [])
        targets[from_scratch] = encoded["target"][0]
    assert targets[False][0] == start
    assert targets[False][-1] == end
    assert targets[True] == targets[False][1:]


def test_a_model_without_a_decoder_is_found_by_the_check(write_experiment: Any) -> None:
    config = "{hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2}"
    task = TASK.format(model="bert", config=config)
    file = write_experiment(task=task, objective="{metric: loss, goal: minimize}")
    assert "bert is not an encoder with a decoder" in argument_faults(read(file)[2])[0]
