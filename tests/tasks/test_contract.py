"""What every kind of task does, from the file to the lines of its model card."""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hpo_pipeline.data.prepare import prepare
from hpo_pipeline.experiment.loading import load, read
from hpo_pipeline.experiment.metrics import PRACTICAL_METRICS
from hpo_pipeline.jobs.check import argument_faults
from hpo_pipeline.reports.model_card import Evidence, model_card
from hpo_pipeline.results.trial import TrialState, read_trial
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.trial.__main__ import main
from hpo_pipeline.trial.command import TrialCommand
from hpo_pipeline.trial.evaluate import evaluate
from tests.conftest import BAD, GOOD, PLAIN

Rows = Callable[[random.Random], dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """A kind with some of its fields, rows that it can learn, and what it reaches at least."""

    kind: str
    metric: str
    row: Rows
    fields: str = ""
    least: float = 0.6


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
}


def write_rows(case: Case, file: Path, count: int = 200) -> Path:
    """Write rows of a case, each different."""
    rng = random.Random(11)
    rows = {json.dumps(row): row for row in (case.row(rng) for _ in range(2 * count))}
    file.write_text("\n".join(list(rows)[:count]) + "\n", "utf-8")
    return file


@pytest.mark.parametrize("name", CASES)
def test_a_kind_from_the_file_to_the_card(
    name: str, pair_bert: Path, write_experiment: Any, tmp_path: Path, capsys: Any
) -> None:
    case = CASES[name]
    data = write_rows(case, tmp_path / "rows.jsonl")
    task = (
        f"kind: {case.kind}\nmodel: {pair_bert}\ndata: {data}\nmax_length: 16\n{case.fields}\n"
        f"rows: {{train: 120, validation: 30, test: 30}}\n"
        f"training: {{num_train_epochs: 6, per_device_train_batch_size: 8}}\n"
    )
    kind = TASKS[case.kind]
    better = load(write_experiment(task=task, objective="{metric: loss, goal: minimize}")).task
    goal = {"higher": "maximize", "lower": "minimize"}[better.reported[case.metric].better or ""]
    file = write_experiment(task=task, objective=f"{{metric: {case.metric}, goal: {goal}}}")
    _, faults, sections = read(file)
    assert faults + argument_faults(sections) == []

    experiment = load(file)
    dataset = prepare(experiment, tmp_path)
    command = TrialCommand(file, dataset, tmp_path / "trials", "t", 0, {"learning_rate": "0.02"})
    main(command.argv())
    trial = read_trial(tmp_path / "trials/t")
    assert trial is not None
    assert trial.state == TrialState.SUCCEEDED, trial.reason
    wanted = set(kind.metrics(experiment.task))
    assert set(trial.metrics) - set(PRACTICAL_METRICS) == wanted
    first, last = trial.curve[0].metrics, trial.curve[-1].metrics
    assert min(p.metrics["loss"] for p in trial.curve) < first["loss"] or last["loss"] < 0.05

    model = tmp_path / "trials/t/model"
    tested = evaluate(experiment, dataset, model, experiment.task.max_length)
    assert set(tested.metrics) - set(PRACTICAL_METRICS) == wanted
    if case.metric != "loss":
        assert tested.metrics[case.metric] > case.least

    usage = kind.usage(experiment.task)
    assert usage in model_card(experiment, trial, Evidence())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of transformers
        exec(usage.replace("path/to/this/folder", str(model)), {})
    assert capsys.readouterr().out.strip()
