"""A task kind is one file and one row, a practical metric one row: a toy of each, run as a whole.

The toys are defined here and put into the tables; nothing else is edited.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpo_pipeline.data.prepare import prepare
from hpo_pipeline.experiment.loading import load, read
from hpo_pipeline.experiment.metrics import PRACTICAL_METRICS
from hpo_pipeline.jobs.check import argument_faults
from hpo_pipeline.reports.model_card import Evidence, model_card
from hpo_pipeline.results.trial import Trial, TrialState, read_trial
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.tasks.classification.one_label import ClassificationKind, encode_labels
from hpo_pipeline.tasks.kind import Batch, Form, Metric, Row
from hpo_pipeline.tasks.task_fields import TaskFields
from hpo_pipeline.trial.__main__ import main
from hpo_pipeline.trial.answering.evaluate import evaluate
from hpo_pipeline.trial.command import TrialCommand
from tests.toys import faults_of


class Letters(ClassificationKind):
    """Every letter is a token."""

    searchable = ("freeze",)

    def pipeline(self, task: TaskFields) -> str:
        """Return a name."""
        return "text-classification"

    def usage(self, task: TaskFields) -> str:
        """Return a line of Python."""
        return "model = load_letters()"

    def form(self, task: TaskFields) -> Form:
        """Return that a row has a text and a class."""
        return Form()

    def model_class(self, task: TaskFields) -> Any:
        """Return the auto class of text classification."""
        return TASKS["text-classification"].model_class(task)

    def metrics(self, task: TaskFields) -> Mapping[str, Metric]:
        """Add the share of wrong answers to the metrics of a classification."""
        return {**super().metrics(task), "error_rate": Metric("share of errors", "lower")}

    def compute_metrics(self, task: TaskFields, processor: None, names: Sequence[str]) -> Any:
        """Compute them."""
        compute = super().compute_metrics(task, processor, names)

        def with_errors(predicted: Any) -> dict[str, float]:
            wrong = predicted.predictions.argmax(axis=-1) != predicted.label_ids
            return {**compute(predicted), "error_rate": float(np.mean(wrong))}

        return with_errors

    def processor(self, task: TaskFields, source: str, inputs: Any, shape: None) -> None:
        """Return nothing: letters need no processor."""

    def load_processor(self, folder: Path) -> None:
        """Return nothing."""

    def identity(self, processor: None) -> str:
        """Return a constant."""
        return "letters"

    def encode(
        self, task: TaskFields, batch: Batch, processor: None, names: Sequence[str]
    ) -> dict[str, list[Any]]:
        """Take every letter as a token."""
        tokens = [[ord(c) % 128 for c in text[: task.max_length]] for text in batch["input"]]
        return {"input_ids": tokens, "label": encode_labels(batch["label"], names)}

    def length(self, row: Row) -> int:
        """Return the number of letters."""
        return len(row["input_ids"])

    def collator(self, task: TaskFields, processor: None, shape: None) -> Any:
        """Pad with zeros to the longest row."""
        import torch

        def collate(rows: list[Row]) -> dict[str, Any]:
            longest = max(len(row["input_ids"]) for row in rows)
            ids = torch.zeros(len(rows), longest, dtype=torch.long)
            for i, row in enumerate(rows):
                ids[i, : len(row["input_ids"])] = torch.tensor(row["input_ids"])
            labels = torch.tensor([row["label"] for row in rows])
            return {"input_ids": ids, "attention_mask": (ids > 0).long(), "labels": labels}

        return collate

    def config_fields(self, task: TaskFields, processor: None, shape: None) -> dict[str, Any]:
        """Return the size of the alphabet."""
        return {"vocab_size": 128, "pad_token_id": 0}


LETTERS = Letters()
BERT = (
    "model: bert\nfrom_scratch: true\n"
    "training: {num_train_epochs: 1, per_device_train_batch_size: 32}\n"
    "config: {hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 1, intermediate_size: 8}\n"
    "rows: {train: 64, validation: 32, test: 32}\n"
)


def run_trial(file: Path, folder: Path) -> tuple[Trial, Path]:
    """Prepare the data of an experiment and train one configuration of it."""
    dataset = prepare(load(file), folder)
    command = TrialCommand(file, dataset, folder / "trials", "t", 0, {"learning_rate": "0.01"})
    main(command.argv())
    trial = read_trial(folder / "trials/t")
    assert trial is not None
    assert trial.state == TrialState.SUCCEEDED, trial.reason
    return trial, dataset


def test_a_kind_of_task_is_one_row(
    write_experiment: Any, sentences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TASKS, "letters", LETTERS)
    task = f"kind: letters\ndata: {sentences}\nmax_length: 60\n{BERT}"
    file = write_experiment(task=task, objective="{metric: error_rate, goal: minimize}")
    _, faults, sections = read(file)
    assert faults + argument_faults(sections) == []
    trial, dataset = run_trial(file, tmp_path)
    assert trial.metrics["error_rate"] == pytest.approx(1 - trial.metrics["accuracy"])
    tested = evaluate(load(file), dataset, tmp_path / "trials/t/model", 60)
    assert sum(sum(row) for row in tested.confusion) == 32
    assert tested.labels == ("negative", "positive")
    assert "model = load_letters()" in model_card(load(file), trial, Evidence())


def test_what_a_kind_says_decides_what_the_file_may_say(
    write_experiment: Any, sentences: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TASKS, "letters", LETTERS)
    space = "{task.max_length: {type: int, low: 4, high: 8}}"
    task = f"kind: letters\ndata: {sentences}\n{BERT}"
    _, faults, _ = read(write_experiment(task=task, space=space))
    assert faults == ["space.task.max_length: of the task, only freeze, model can be searched"]
    file = write_experiment(objective="{metric: error_rate, goal: minimize}")
    assert "no metric 'error_rate' in text-classification" in read(file)[1][0]


@pytest.mark.parametrize(
    ("kind", "field"),
    [("image-classification", "image_size"), ("text-classification", "vocab_size")],
)
def test_what_the_data_decide_cannot_be_searched(tmp_path: Path, kind: str, field: str) -> None:
    faults = faults_of(
        tmp_path,
        task=f"{{kind: {kind}, model: some/model, data: some/data}}",
        space=f"{{model.{field}: {{type: int, low: 8, high: 64}}}}",
    )
    assert faults == [
        f"space.model.{field}: the prepared data decide it for all trials; leave it out"
    ]


def layers(finished: Any) -> float:
    """A practical metric: the layers of the model."""
    return float(finished.model.config.num_hidden_layers)


def test_a_practical_metric_is_one_row(
    write_experiment: Any, sentences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Metric("layers of the model", "lower", "layers", f"{__name__}:layers")
    monkeypatch.setitem(PRACTICAL_METRICS, "depth", row)
    file = write_experiment(
        objective='{score: "accuracy - depth", goal: maximize}', constraints="['depth <= 2']"
    )
    trial, dataset = run_trial(file, tmp_path)
    written = json.loads((tmp_path / "trials/t/result.json").read_text("utf-8"))
    assert written["metrics"]["depth"] == 2.0
    assert trial.metrics["score"] == pytest.approx(trial.metrics["accuracy"] - 2)
    assert [point.metrics["depth"] for point in trial.curve] == [2.0] * len(trial.curve)
    assert evaluate(load(file), dataset, tmp_path / "trials/t/model", 12).metrics["depth"] == 2.0
    card = model_card(load(file), trial, Evidence())
    assert "| depth | 2 |  | layers of the model (layers) |" in card


def test_the_schema_needs_no_library_of_the_trial() -> None:
    heavy = ("numpy", "pandas", "sklearn", "torch", "transformers", "datasets", "PIL")
    code = (
        "import sys, hpo_pipeline.experiment.loading, hpo_pipeline.reports.model_card\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
