"""What a kind of task consists of: the class that every kind's file derives from.

The schema of the experiment file reads the table of kinds, so everything here, and whatever a
kind's file does at its module level, is cheap to import; numpy, torch and transformers are imported
by the methods that use them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from hpo_pipeline.tasks.row_sums import RowSums
from hpo_pipeline.tasks.task_fields import TaskFields

Row = dict[str, Any]
Batch = Mapping[str, Sequence[Any]]
"""Rows as columns of one length."""
Shape = tuple[int, int, int]
"""Height, width and channels of an image."""
Collate = Callable[[list[Row]], dict[str, Any]]
InputForm = Literal["text", "pair", "words", "messages", "image"]
LabelForm = Literal["class", "classes", "number", "tags", "text"]


@dataclass(frozen=True)
class Metric:
    """A row of a table of metrics.

    Attributes:
        meaning: what is measured, for a reader of the report.
        better: which direction is better; None where only the user knows.
        unit: unit of the value, as written after a number; empty for a share or a plain number.
        measure: `module:function` that measures it; empty where the kind computes it.
    """

    meaning: str
    better: Literal["higher", "lower"] | None
    unit: str = ""
    measure: str = ""

    @property
    def description(self) -> str:
        """The meaning with its unit."""
        return f"{self.meaning} ({self.unit})" if self.unit else self.meaning


class Settings(BaseModel):
    """The fields that a kind adds to the section `task`; a kind without any uses this class."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


class DataSource(Protocol):
    """Ways to read what `task.data` names; data/ hands one to a kind's `read`.

    `rows` and `images` return the tables by split name, with the columns `input` and `label`, and
    raise DataError where the data are of another form.
    """

    def rows(self) -> Any:
        """Read the columns that the kind's `form` asks for, from files, a folder or the hub."""

    def images(self, *, size: tuple[int, int] | None, channels: int | None) -> Any:
        """Read a folder of images for each label, converted to one shape.

        Args:
            size: height and width of all images; None takes the most frequent size.
            channels: 1 for grey, 3 for colour; None takes colour where any image has it.
        """

    def model(self) -> str:
        """Return the folder or hub id of the base model."""


@dataclass(frozen=True)
class Form:
    """What the columns `input` and `label` of the data hold.

    Attributes:
        input: a text; a pair of texts (list of two); words (list of texts); messages (list of
            mappings with `role` and `content`); the pixels of an image (bytes).
        label: a class (text); several classes (list of texts); a number; a tag for each word (list
            of texts); a text; None where the input alone is learnt.
    """

    input: InputForm = "text"
    label: LabelForm | None = "class"


@dataclass(frozen=True)
class Loaded:
    """A finished model and the rows that it is measured on.

    Attributes:
        model: on its device, in evaluation mode.
        processor: what the model's folder holds to encode inputs.
        rows: encoded with that processor, short ones first.
        collate: makes a batch of rows.
        names: the labels of the data, in the order of `encode`.
        batch: how many rows the model is given at a time.
    """

    model: Any
    processor: Any
    rows: Sequence[Row]
    collate: Collate
    names: Sequence[str]
    batch: int = 64


def rows_of(batch: Batch) -> list[Row]:
    """Return the rows of columns."""
    return [dict(zip(batch, row, strict=True)) for row in zip(*batch.values(), strict=True)]


@dataclass(frozen=True)
class Evaluated:
    """Metrics on the test rows, and how many rows of each label got which answer.

    Attributes:
        labels: those of the data, then those that only the model knows.
        confusion: counts by true label (outer) and answer (inner), in the order of `labels`.
        rows: what each row adds to the metrics, in the order of the rows that were measured; None
            where the kind does not tell.
    """

    metrics: dict[str, float]
    labels: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    rows: RowSums | None = field(default=None, compare=False)


class TaskKind(ABC):
    """A row of TASKS: all that is special about a kind of task.

    Attributes:
        Settings: the kind's own fields of the section `task`.
        searchable: fields of the section `task` that a space may vary.
        shared: fields of the model's config that the prepared data decide for all trials.
        encoded_by: fields of the section `task` that decide how rows are encoded, when they are
            searched; what the collator does to a batch, such as cutting it, is not among them.
        has_text: whether inputs are tokens, of which `task.max_length` is the limit.
        exports: whether one pass of the model is all that a deployment runs, so that it can be
            exported to ONNX; a model that generates text runs many.
        trains_head: whether the head of the model belongs to the task, so that it is trained even
            where all else is frozen; a language model keeps the head that it has.
        has_own_metrics: whether `task.metrics`, the user's functions, are computed.
        is_cut: whether what exceeds `task.max_length` is left out.
        idle: what a row of length 0 is, of which nothing can be learnt; empty where a length of 0
            says nothing.
        needs: fields of the section `task` that the kind cannot do without.
        is_own_code: whether the user's code trains, so that metrics and parameters are not known.
        measured_by: modules that the metrics load when they are first computed, which takes
            seconds; where trials are forked, they are loaded once for all.
    """

    Settings: ClassVar[type[Settings]] = Settings
    searchable: ClassVar[tuple[str, ...]] = ("freeze",)
    shared: ClassVar[tuple[str, ...]] = ()
    encoded_by: ClassVar[tuple[str, ...]] = ("model", "vocab_size", "tokenizer")
    has_text: ClassVar[bool] = True
    exports: ClassVar[bool] = False
    trains_head: ClassVar[bool] = True
    has_own_metrics: ClassVar[bool] = True
    is_cut: ClassVar[bool] = True
    idle: ClassVar[str] = ""
    needs: ClassVar[tuple[str, ...]] = ("model", "data")
    is_own_code: ClassVar[bool] = False
    measured_by: ClassVar[tuple[str, ...]] = ()

    # What people read.

    @abstractmethod
    def pipeline(self, task: TaskFields) -> str:
        """Return the Hugging Face Hub's name for what the finished model does."""

    def predictor(self, task: TaskFields, folder: str, **options: Any) -> Any:
        """Return a finished model, ready to be called with inputs.

        Args:
            options: for `transformers.pipeline`.

        Raises:
            DataError: nothing is known of how the model predicts.
        """
        from transformers import pipeline

        return pipeline(self.pipeline(task), model=folder, **options)

    @abstractmethod
    def usage(self, task: TaskFields) -> str:
        """Return Python lines for the model card that load the model and use it."""

    @abstractmethod
    def metrics(self, task: TaskFields) -> Mapping[str, Metric]:
        """Return the quality metrics that a trial reports; `loss` is the Trainer's own."""

    def row_metrics(self, task: TaskFields) -> frozenset[str]:
        """Return the metrics of `Evaluated.rows`, which can be computed on samples of the rows."""
        return frozenset()

    def gate_rows(self, task: TaskFields) -> str:
        """Return in words on which rows a finished model is measured."""
        return "held-out test rows"

    # Data.

    @abstractmethod
    def form(self, task: TaskFields) -> Form:
        """Return what the data have to hold."""

    def read(self, task: TaskFields, source: DataSource) -> Any:
        """Read the data, with the functions of the source."""
        return source.rows()

    @abstractmethod
    def names(self, task: TaskFields, labels: Iterable[Any]) -> list[str]:
        """Return the labels in order, given those of the training rows; empty for none."""

    @abstractmethod
    def processor(
        self, task: TaskFields, source: str, inputs: Sequence[Any], shape: Shape | None
    ) -> Any:
        """Return what encodes inputs, or None where nothing is needed.

        Args:
            source: the folder or hub id of the base model.
            inputs: those of the training rows, for a tokenizer that is trained.
            shape: of all images.

        Raises:
            DataError: the model has none, or one that does not fit it.
        """

    def processor_notes(self, task: TaskFields, processor: Any) -> tuple[str, ...]:
        """Return sentences on the processor for the report."""
        return ()

    @abstractmethod
    def load_processor(self, folder: Path) -> Any:
        """Return the processor from a folder to which its `save_pretrained` wrote it."""

    @abstractmethod
    def identity(self, processor: Any) -> str:
        """Return a text that changes when the processor would encode inputs differently."""

    @abstractmethod
    def encode(
        self, task: TaskFields, batch: Batch, processor: Any, names: Sequence[str]
    ) -> dict[str, list[Any]]:
        """Return the columns of encoded rows, labels included.

        Args:
            batch: the columns `input` and, unless the form has none, `label`.
            names: the labels of the data in order.

        Raises:
            DataError: a row cannot be encoded.
        """

    def length(self, row: Row) -> int:
        """Return the length of a row; rows of one length side by side need little padding."""
        return 0

    def padded_lengths(self, task: TaskFields, rows: Any) -> Sequence[int] | None:
        """Return how long each training row is in a batch, or None where no row is padded.

        Args:
            rows: those of the Trainer.
        """
        return None

    @abstractmethod
    def collator(self, task: TaskFields, processor: Any, shape: Shape | None) -> Collate:
        """Return the function that turns rows into a batch."""

    # The model.

    def model_fault(self, task: TaskFields, config: Any) -> str | None:
        """Say why a model of this config cannot be trained for this task, or return None.

        Args:
            config: of the model, with the fields of the task and the trial in it.
        """
        return None

    @abstractmethod
    def model_class(self, task: TaskFields) -> Any:
        """Return transformers' auto class."""

    def config_fields(
        self, task: TaskFields, processor: Any, shape: Shape | None
    ) -> dict[str, Any]:
        """Return the fields of the model's config that follow from the inputs."""
        return {}

    def label_fields(self, task: TaskFields, names: Sequence[str]) -> dict[str, Any]:
        """Return the fields of the model's config that follow from the labels."""
        return {}

    # Training and measuring.

    def trainer(self, task: TaskFields, **arguments: Any) -> Any:
        """Return a transformers.Trainer made of its usual arguments."""
        from transformers import Trainer

        return Trainer(**arguments)

    @abstractmethod
    def compute_metrics(
        self, task: TaskFields, processor: Any, names: Sequence[str]
    ) -> Callable[[Any], dict[str, float]] | None:
        """Return the function that turns an EvalPrediction into metrics, without the loss.

        None where the loss is the only metric. The user's own metrics (`task.metrics`) are
        computed by it too, where the kind has any.
        """

    def reduced_logits(self, logits: Any, labels: Any) -> Any:
        """Return what is kept of a batch's outputs until the metrics are computed."""
        return logits[0] if isinstance(logits, tuple) else logits

    @abstractmethod
    def evaluate(self, task: TaskFields, loaded: Loaded) -> Evaluated:
        """Measure a finished model on the test rows, with its loss.

        Its labels and its tokenizer may differ from those of the data.

        Raises:
            TrialError: a user's metric cannot be loaded, raises, or does not return a number.
        """

    def forward(self, task: TaskFields, model: Any, batch: dict[str, Any]) -> Any:
        """Run the model as a deployment would; latency and throughput are those of this call."""
        return model(**batch)
