"""Text classification: tokens, padded to the longest row of a batch, and one label a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hpo_pipeline.tasks.classification import ClassificationKind, encode_labels
from hpo_pipeline.tasks.kind import Batch, Form, TaskFields
from hpo_pipeline.tasks.text_inputs import TextKind, tokenized

USAGE = """\
from transformers import pipeline

classify = pipeline("text-classification", model="path/to/this/folder")
print(classify("Write a sentence here."))"""


class TextClassification(ClassificationKind, TextKind):
    """One label for a text."""

    def pipeline(self, task: TaskFields) -> str:
        """Return transformers' name of the pipeline."""
        return "text-classification"

    def usage(self, task: TaskFields) -> str:
        """Return Python lines that use the model."""
        return USAGE

    def form(self, task: TaskFields) -> Form:
        """Return that a row has a text and a class."""
        return Form("text", "class")

    def model_class(self, task: TaskFields) -> Any:
        """Return transformers' auto class."""
        from transformers import AutoModelForSequenceClassification

        return AutoModelForSequenceClassification

    def encode(
        self, task: TaskFields, batch: Batch, processor: Any, names: Sequence[str]
    ) -> dict[str, list[Any]]:
        """Return token ids and the number of the label."""
        encoded = tokenized(batch["input"], processor, task.max_length)
        return {**encoded, "label": encode_labels(batch["label"], names)}


KIND = TextClassification()
