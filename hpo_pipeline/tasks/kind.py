"""What a kind of task consists of: the types of the rows of TASKS.

The schema of the experiment file reads the table, so everything here, and whatever a kind's file
does at its module level, is cheap to import; numpy, torch and transformers are imported by the
functions that use them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

Row = dict[str, Any]
Shape = tuple[int, int, int]
"""Height, width and channels of an image."""
Collate = Callable[[list[Row]], dict[str, Any]]


@dataclass(frozen=True)
class Metric:
    """A row of a table of metrics.

    Attributes:
        meaning: what is measured, for a reader of the report.
        better: which direction is better; None where only the user knows.
        unit: unit of the value, as written after a number; empty for a share or a plain number.
        measure: `module:function` that measures it; empty where a kind's `measure` computes it.
    """

    meaning: str
    better: Literal["higher", "lower"] | None
    unit: str = ""
    measure: str = ""

    @property
    def description(self) -> str:
        """The meaning with its unit."""
        return f"{self.meaning} ({self.unit})" if self.unit else self.meaning


class TaskFields(Protocol):
    """The fields of the section `task` that a kind reads."""

    @property
    def from_scratch(self) -> bool:
        """Whether the model starts with random weights."""

    @property
    def vocab_size(self) -> int | None:
        """Tokens of a tokenizer that is trained on the data, if one is."""

    @property
    def trust_remote_code(self) -> bool:
        """Whether code that comes with a model may run."""

    @property
    def config(self) -> dict[str, Any]:
        """Fields of the model's config that the file fixes."""


class DataSource(Protocol):
    """Ways to read what `task.data` names; data/ hands one to a kind's `read`.

    `rows` and `images` return the tables by split name, with the columns `input` and `label`, and
    raise DataError where the data are of another form.
    """

    def rows(self) -> Any:
        """Read a text column and a label column, from a file, a folder of files or the hub."""

    def images(self, *, size: tuple[int, int] | None, channels: int | None) -> Any:
        """Read a folder of images for each label, converted to one shape.

        Args:
            size: height and width of all images; None takes the most frequent size.
            channels: 1 for grey, 3 for colour; None takes colour where any image has it.
        """

    def model(self) -> str:
        """Return the folder or hub id of the base model."""


@dataclass(frozen=True)
class Inputs:
    """How the inputs of a kind are read and become batches.

    Attributes:
        read: reads the data, given (task, source), with the functions of the source.
        processor: makes what encodes inputs (a tokenizer, a scaling), given (task, model folder or
            hub id, training inputs, image shape); None where nothing is needed.
        load_processor: reads that from a folder to which its `save_pretrained` wrote it.
        identity: text that changes when the processor would encode inputs differently.
        encode: turns inputs into rows, given (inputs, processor, max length).
        length: length of a row; rows of one length side by side need little padding.
        collator: makes the function that turns rows into a batch, given (processor, max length,
            image shape).
        config_fields: fields of the model's config that follow from the data, given (processor,
            image shape).
    """

    read: Callable[[TaskFields, DataSource], Any]
    processor: Callable[[TaskFields, str, Sequence[Any], Shape | None], Any]
    load_processor: Callable[[Path], Any]
    identity: Callable[[Any], str]
    encode: Callable[[Sequence[Any], Any, int], list[Row]]
    length: Callable[[Row], int]
    collator: Callable[[Any, int, Shape | None], Collate]
    config_fields: Callable[[Any, Shape | None], dict[str, Any]]


@dataclass(frozen=True)
class Evaluated:
    """Metrics on the test rows, and how many rows of each label got which answer.

    Attributes:
        labels: those of the data, then those that only the model knows.
        confusion: counts by true label (outer) and answer (inner), in the order of `labels`.
    """

    metrics: dict[str, float]
    labels: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()


class Evaluate(Protocol):
    """Measures a finished model on rows that it has not seen."""

    def __call__(
        self,
        predictions: Any,
        labels: Any,
        *,
        known: Sequence[str],
        names: Sequence[str],
        own: Mapping[str, str],
    ) -> Evaluated:
        """Compare predictions with labels.

        Args:
            predictions: what the model gave for each row.
            labels: the right answers, as `encode` wrote them.
            known: the labels that the model knows, in the order of its outputs.
            names: the labels of the data, in the order of `encode`.
            own: the user's metrics, name to `module:function`.
        """


@dataclass(frozen=True)
class Targets:
    """What a kind predicts, and how good predictions are.

    Attributes:
        metrics: the quality metrics; `loss` is the Trainer's own.
        names: the labels in order, given those of the training rows.
        encode: turns labels into what the model learns, given (labels, names).
        config_fields: fields of the model's config that follow from the names.
        measure: computes the metrics but the loss, given (predictions, labels, the user's metrics
            by name as `module:function`).
        evaluate: the same for a finished model, whose labels may differ, with its loss.
    """

    metrics: Mapping[str, Metric]
    names: Callable[[Iterable[str]], list[str]]
    encode: Callable[[Sequence[str], Sequence[str]], list[Any]]
    config_fields: Callable[[Sequence[str]], dict[str, Any]]
    measure: Callable[[Any, Any, Mapping[str, str]], dict[str, float]]
    evaluate: Evaluate


@dataclass(frozen=True)
class TaskKind:
    """A row of TASKS.

    Attributes:
        pipeline: transformers' name of the pipeline that runs the finished model.
        usage: Python lines for the model card that load the model and use it.
        searchable: fields of the section `task` that a space may vary.
        model_class: returns transformers' auto class.
        shared: fields of the model's config that the prepared data decide for all trials.
    """

    pipeline: str
    usage: str
    searchable: tuple[str, ...]
    model_class: Callable[[], Any]
    inputs: Inputs
    targets: Targets
    shared: tuple[str, ...] = ()
