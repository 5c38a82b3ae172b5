"""What every kind of task does, from the file to the lines of its model card."""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hpo_pipeline.data.prepare import prepare
from hpo_pipeline.experiment.loading import load, read
from hpo_pipeline.experiment.metrics import PRACTICAL_METRICS
from hpo_pipeline.jobs.check import argument_faults
from hpo_pipeline.reports.model_card import Evidence, model_card
from hpo_pipeline.results.trial import TrialState, read_trial
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.trial.__main__ import main
from hpo_pipeline.trial.answering.evaluate import evaluate
from hpo_pipeline.trial.command import TrialCommand
from hpo_pipeline.trial.training.loading import load_data
from hpo_pipeline.trial.training.row_shares import share_of
from tests.conftest import BAD, GOOD, PLAIN

Rows = Callable[[random.Random], dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """A kind with some of its fields, rows that it can learn, and what it reaches at least.

    Attributes:
        model: the fields that name the model; by default it is a tiny encoder.
        least: of the metric on the test rows; None where it is the loss.
    """

    kind: str
    metric: str
    row: Rows
    fields: str = ""
    least: float | None = 0.6
    model: str = "model: {bert}\nmax_length: 16\n"
    rate: str = "0.02"
    epochs: int = 6


def words(rng: random.Random) -> tuple[list[str], bool]:
    """Return words that are good or bad, and which."""
    is_good = rng.random() < 0.5
    found = [*rng.sample(GOOD if is_good else BAD, 2), *rng.sample(PLAIN, 4)]
    rng.shuffle(found)
    return found, is_good


def one(rng: random.Random) -> dict[str, Any]:
    found, is_good = words(rng)
    return {"text": " ".join(found), "label": "good" if is_good else "bad"}


def pair(rng: random.Random) -> dict[str, Any]:
    found, is_good = words(rng)
    label = "good" if is_good else "bad"  # as the second text says
    return {
        "premise": " ".join(rng.sample(PLAIN, 4)),
        "hypothesis": " ".join(found),
        "label": label,
    }


def several(rng: random.Random) -> dict[str, Any]:
    found, is_good = words(rng)
    labels = ["good" if is_good else "bad"] if rng.random() < 0.9 else []
    return {"text": " ".join(found), "label": [*labels, *(["film"] if "film" in found else [])]}


def number(rng: random.Random) -> dict[str, Any]:
    found, is_good = words(rng)
    return {"text": " ".join(found), "label": (1 if is_good else -1) * (1 + rng.random())}


def tagged(rng: random.Random) -> dict[str, Any]:
    found, _ = words(rng)
    kinds = {**dict.fromkeys(GOOD, "GOOD"), **dict.fromkeys(BAD, "BAD")}
    tags, before = [], ""
    for word in found:
        kind = kinds.get(word, "")
        tags.append(f"{'I' if kind == before else 'B'}-{kind}" if kind else "O")
        before = kind
    return {"tokens": found, "tags": tags}


def spoken(rng: random.Random) -> dict[str, Any]:
    found, _ = words(rng)
    return {"tokens": found, "tags": ["function" if w in PLAIN else "content" for w in found]}


def answered(rng: random.Random) -> dict[str, Any]:
    found = one(rng)
    return {"text": found["text"], "label": f"it is {found['label']}"}


def stripe(rng: random.Random) -> dict[str, Any]:
    is_left = rng.random() < 0.5
    dark, light = ([rng.randrange(low, low + 80) for _ in range(32)] for low in (0, 170))
    halves = (light, dark) if is_left else (dark, light)
    pixels = [half[4 * y : 4 * y + 4] for y in range(8) for half in halves]
    return {"pixels": list(chain.from_iterable(pixels)), "label": "left" if is_left else "right"}


SCRATCH = "model: {name}\nfrom_scratch: true\n"
TOKENS = "tokenizer: bpe\nvocab_size: 300\nmax_length: 24\n"
GPT2 = "config: {n_embd: 16, n_layer: 1, n_head: 2, n_positions: 24}\n"
BERT = "config: {hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2}\n"
T5 = "config: {d_model: 32, d_kv: 16, d_ff: 32, num_layers: 1, num_heads: 2}\n"
VIT = "config: {hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, patch_size: 4}\n"
OWN = """
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, Trainer

PRETRAINED = {bert!r}


def build(context):
    tokenizer = AutoTokenizer.from_pretrained(PRETRAINED)
    model = AutoModelForSequenceClassification.from_pretrained(PRETRAINED)
    names = list(context.labels)

    def encoded(row):
        return {{**tokenizer(row["input"]), "labels": names.index(row["label"])}}

    train, test = (
        context.split(name).map(encoded, remove_columns=["input", "label"])
        for name in ("train", "validation")
    )
    return Trainer(model, context.arguments, train_dataset=train, eval_dataset=test,
                   processing_class=tokenizer)
"""

CASES = {
    "one label": Case("text-classification", "f1", one),
    "pairs": Case(
        "text-classification",
        "accuracy",
        pair,
        "columns: {input: [premise, hypothesis]}",
        least=0.5,  # so tiny a model hardly learns from the second text
    ),
    "several labels": Case("text-classification", "f1_micro", several, "problem: multi_label"),
    "numbers": Case("text-classification", "pearson", number, "problem: regression"),
    "entities": Case("token-classification", "f1", tagged, "scheme: IOB2"),
    "all tokens": Case("token-classification", "f1", tagged, "label_all: true"),
    "parts of speech": Case("token-classification", "accuracy", spoken, "scheme: none"),
    "images": Case(
        "image-classification",
        "accuracy",
        stripe,
        model=SCRATCH.format(name="vit") + VIT,
        rate="0.003",
    ),
    "causal": Case(
        "language-modeling",
        "loss",
        lambda rng: {"text": one(rng)["text"]},
        least=None,
        model=SCRATCH.format(name="gpt2") + TOKENS + GPT2,
    ),
    "masked": Case(
        "language-modeling",
        "loss",
        lambda rng: {"text": one(rng)["text"]},
        "language_model: masked",
        least=None,
        model=SCRATCH.format(name="bert") + TOKENS + BERT,
    ),
    "text to text": Case(
        "seq2seq",
        "rougeL",
        answered,
        "max_target_length: 12",
        model=SCRATCH.format(name="t5") + TOKENS + T5,
        rate="0.01",
        epochs=3,
    ),
    "own trainer": Case("custom", "loss", one, "trainer: own:build", least=None, model=""),
}


def write_rows(case: Case, folder: Path, count: int = 200) -> Path:
    """Write rows of a case, each different: as JSON lines, or images in folders."""
    rng = random.Random(11)
    rows = {json.dumps(row): row for row in (case.row(rng) for _ in range(2 * count))}
    file = folder / "rows.jsonl"
    if case.row is not stripe:
        file.write_text("\n".join(list(rows)[:count]) + "\n", "utf-8")
        return file
    for number, row in enumerate(list(rows.values())[:count]):
        place = folder / "images" / row["label"] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.frombytes("L", (8, 8), bytes(row["pixels"])).save(place)
    return folder / "images"


@pytest.mark.parametrize("name", CASES)
def test_a_kind_from_the_file_to_the_card(
    name: str, pair_bert: Path, write_experiment: Any, tmp_path: Path, capsys: Any
) -> None:
    case = CASES[name]
    data = write_rows(case, tmp_path)
    (tmp_path / "own.py").write_text(OWN.format(bert=str(pair_bert)), "utf-8")
    task = (
        f"kind: {case.kind}\n{case.model.replace('{bert}', str(pair_bert))}data: {data}\n"
        f"{case.fields}\n"
        f"rows: {{train: 120, validation: 30, test: 30}}\n"
        f"training: {{num_train_epochs: {case.epochs}, per_device_train_batch_size: 8}}\n"
    )
    kind = TASKS[case.kind]
    better = load(write_experiment(task=task, objective="{metric: loss, goal: minimize}")).task
    goal = {"higher": "maximize", "lower": "minimize"}[better.reported[case.metric].better or ""]
    file = write_experiment(task=task, objective=f"{{metric: {case.metric}, goal: {goal}}}")
    _, faults, sections = read(file)
    assert faults + argument_faults(sections) == []

    experiment = load(file)
    dataset = prepare(experiment, tmp_path)
    if not kind.is_own_code:
        rows, form = load_data(experiment.task, dataset).train, kind.form(experiment.task).label
        assert 13 <= len(share_of(rows, 1 / 9, form, 0)) < len(rows)
    command = TrialCommand(file, dataset, tmp_path / "trials", "t", 0, {"learning_rate": case.rate})
    main(command.argv())
    trial = read_trial(tmp_path / "trials/t")
    assert trial is not None
    assert trial.state == TrialState.SUCCEEDED, trial.reason
    wanted = set(kind.metrics(experiment.task))
    assert set(trial.metrics) - set(PRACTICAL_METRICS) == wanted
    first, last = trial.curve[0].metrics, trial.curve[-1].metrics
    assert min(p.metrics["loss"] for p in trial.curve) < first["loss"] or last["loss"] < 0.05

    model = tmp_path / "trials/t/model"
    if not kind.is_own_code:  # whose metrics on test rows the user decides
        tested = evaluate(experiment, dataset, model, experiment.task.max_length)
        assert set(tested.metrics) - set(PRACTICAL_METRICS) == wanted
    if case.least is not None:
        assert tested.metrics[case.metric] > case.least

    usage = kind.usage(experiment.task)
    assert usage in model_card(experiment, trial, Evidence())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of transformers
        image = str(next(data.rglob("*.png"))) if data.is_dir() else ""
        lines = usage.replace("path/to/this/folder", str(model))
        exec(lines.replace("path/to/an/image.png", image), {})
    assert kind.is_own_code or capsys.readouterr().out.strip()
