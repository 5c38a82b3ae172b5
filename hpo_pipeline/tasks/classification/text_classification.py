"""Text classification: one label for a text, several labels or none, or a number.

The text may be a pair of texts. The `problem` decides labels, loss and metrics; the tokens are the
same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from hpo_pipeline.errors import DataError
from hpo_pipeline.tasks.classification import regression, several_labels
from hpo_pipeline.tasks.classification.one_label import (
    ClassificationKind,
    config_fields,
    encode_labels,
    label_names,
)
from hpo_pipeline.tasks.inputs.text_inputs import TextKind, tokenized, tokenized_pairs
from hpo_pipeline.tasks.inputs.token_cutting import cut_pair
from hpo_pipeline.tasks.kind import (
    Batch,
    Collate,
    Evaluated,
    Form,
    LabelForm,
    Loaded,
    Metric,
    Row,
    Settings,
    Shape,
)
from hpo_pipeline.tasks.task_fields import TaskFields

Problem = Literal["single_label", "multi_label", "regression"]
_LABELS: dict[Problem, LabelForm] = {
    "single_label": "class",
    "multi_label": "classes",
    "regression": "number",
}
_USAGE = """\
from transformers import pipeline

classify = pipeline("text-classification", model="path/to/this/folder")
print({call})"""
_USAGE_OF_SEVERAL = """\
from transformers import pipeline

classify = pipeline("text-classification", model="path/to/this/folder")
found = classify({text}, top_k=None)
print([label for label in found if label["score"] >= {threshold}])"""
_PAIR = '{"text": "Write a text here.", "text_pair": "And another one."}'


class TextClassificationSettings(Settings):
    """The fields of text classification.

    `problem` says what a label is: one class, several classes or none (`multi_label`), or a number
    (`regression`). With several, a class is an answer where its probability reaches `threshold`.
    """

    problem: Problem = "single_label"
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.threshold != 0.5 and self.problem != "multi_label":
            raise ValueError(f"threshold is for problem: multi_label, and it is {self.problem}")
        return self


class TextClassification(ClassificationKind, TextKind):
    """Labels or a number for a text or a pair of texts."""

    Settings: ClassVar[type[Settings]] = TextClassificationSettings

    def pipeline(self, task: TaskFields) -> str:
        """Return transformers' name of the pipeline."""
        return "text-classification"

    def usage(self, task: TaskFields) -> str:
        """Return Python lines that use the model."""
        text = _PAIR if _has_pairs(task) else '"Write a sentence here."'
        if task.settings.problem != "multi_label":
            return _USAGE.format(call=f"classify({text})")
        return _USAGE_OF_SEVERAL.format(text=text, threshold=task.settings.threshold)

    def metrics(self, task: TaskFields) -> Mapping[str, Metric]:
        """Return the metrics of the problem."""
        if task.settings.problem == "multi_label":
            return several_labels.METRICS
        if task.settings.problem == "regression":
            return regression.METRICS
        return super().metrics(task)

    def row_metrics(self, task: TaskFields) -> frozenset[str]:
        """Return those of the problem."""
        match task.settings.problem:
            case "multi_label":
                return frozenset(several_labels.METRICS)
            case "regression":
                return frozenset(regression.METRICS)
        return super().row_metrics(task)

    def form(self, task: TaskFields) -> Form:
        """Return that a row has a text or two, and what the problem is about."""
        return Form("pair" if _has_pairs(task) else "text", _LABELS[task.settings.problem])

    def names(self, task: TaskFields, labels: Iterable[Any]) -> list[str]:
        """Return the different labels in order; none for numbers.

        Raises:
            DataError: there is nothing to learn: all rows have the same number, or no label.
        """
        if task.settings.problem == "regression":
            _check_numbers(labels)
            return []
        if task.settings.problem == "single_label":
            return super().names(task, labels)
        found = label_names(name for several in labels for name in several)
        if len(found) < 2:
            what = f"only the label {found[0]!r}" if found else "no label at all"
            raise DataError(
                f"task.columns.label: the training rows have {what}, and problem: multi_label "
                f"needs two; for a label that a row has or has not, write yes and no, and leave "
                f"problem out"
            )
        return found

    def model_class(self, task: TaskFields) -> Any:
        """Return transformers' auto class."""
        from transformers import AutoModelForSequenceClassification

        return AutoModelForSequenceClassification

    def label_fields(self, task: TaskFields, names: Sequence[str]) -> dict[str, Any]:
        """Return the fields of the config that name the labels and the problem."""
        if task.settings.problem == "regression":
            return dict(regression.CONFIG_FIELDS)
        fields = config_fields(names)
        if task.settings.problem == "multi_label":
            fields["problem_type"] = "multi_label_classification"
        return fields

    def encode(
        self, task: TaskFields, batch: Batch, processor: Any, names: Sequence[str]
    ) -> dict[str, list[Any]]:
        """Return token ids and the label: its number, a 0 or 1 for each label, or the number.

        Raises:
            DataError: a label is in no training row.
        """
        read = tokenized_pairs if _has_pairs(task) else tokenized
        return {
            **read(batch["input"], processor, task.max_length),
            "label": _encoded(task.settings.problem, batch["label"], names),
        }

    def collator(self, task: TaskFields, processor: Any, shape: Shape | None) -> Collate:
        """Return the function that cuts and pads rows to a batch of tensors (rows x tokens)."""
        if not _has_pairs(task) and task.settings.problem == "single_label":
            return super().collator(task, processor, shape)
        pad = super().collator(task, processor, shape)
        is_integer = task.settings.problem == "single_label"

        def collate(rows: list[Row]) -> dict[str, Any]:
            whole = [cut_pair(row, task.max_length) if "parts" in row else row for row in rows]
            batch = pad([{k: v for k, v in row.items() if k != "parts"} for row in whole])
            return batch if is_integer else {**batch, "labels": batch["labels"].float()}

        return collate

    def compute_metrics(
        self, task: TaskFields, processor: Any, names: Sequence[str]
    ) -> Callable[[Any], dict[str, float]]:
        """Return the function that computes the metrics from the model's outputs."""
        import numpy as np

        settings = task.settings
        if settings.problem == "single_label":
            return super().compute_metrics(task, processor, names)

        def compute(predicted: Any) -> dict[str, float]:
            outputs, labels = np.asarray(predicted.predictions), predicted.label_ids
            if settings.problem == "regression":
                return regression.regression_metrics(outputs[:, 0], labels, task.metrics)
            return several_labels.several_label_metrics(
                outputs, labels, threshold=settings.threshold, own=task.metrics
            )

        return compute

    def evaluate(self, task: TaskFields, loaded: Loaded) -> Evaluated:
        """Return the metrics, and of a single label the confusion matrix."""
        settings = task.settings
        if settings.problem == "regression":
            return regression.evaluate(loaded, task.metrics)
        if settings.problem == "multi_label":
            return several_labels.evaluate(loaded, threshold=settings.threshold, own=task.metrics)
        return super().evaluate(task, loaded)


def _has_pairs(task: TaskFields) -> bool:
    return isinstance(task.columns.input, list | tuple)


def _encoded(problem: Problem, labels: Sequence[Any], names: Sequence[str]) -> list[Any]:
    if problem == "regression":
        return [float(label) for label in labels]
    if problem == "single_label":
        return encode_labels(labels, names)
    number = {name: i for i, name in enumerate(names)}
    rows = []
    for several in labels:
        row = [0] * len(names)
        for label in several:
            if label not in number:
                raise DataError(
                    f"task.columns.label: {label!r} is in no training row, but in another one; "
                    f"give training more rows, or leave that label out"
                )
            row[number[label]] = 1
        rows.append(row)
    return rows


def _check_numbers(labels: Iterable[float]) -> None:
    first: float | None = None
    for label in labels:
        if first is not None and label != first:
            return
        first = label
    raise DataError(
        f"task.columns.label: all training rows have the number {first}: there is nothing to learn"
    )


KIND = TextClassification()
