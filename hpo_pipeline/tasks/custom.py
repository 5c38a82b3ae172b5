"""A task of the user's own: a function that returns a Trainer, or a script that trains.

Nothing is known of its metrics, its model and its parameters; the trial finds out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from hpo_pipeline.errors import DataError
from hpo_pipeline.tasks.kind import (
    Batch,
    Collate,
    Evaluated,
    Form,
    InputForm,
    LabelForm,
    Loaded,
    Metric,
    Settings,
    Shape,
    TaskKind,
)
from hpo_pipeline.tasks.task_fields import TaskFields

Target = Annotated[str, Field(pattern=r"^(/.*/)?[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
Script = Annotated[str, Field(pattern=r"\.py$")]

VALIDATION_NOTE = (
    "The metrics of the gate are those of the validation rows: task.evaluate names no function "
    "that measures a model on other rows."
)


class CustomSettings(Settings):
    """The fields of a task of one's own.

    `trainer` names a function that returns a transformers.Trainer; `script` a Python file beside
    the experiment file that trains by itself. `measure` adds practical metrics, `evaluate` measures
    a finished model on the test rows. `input` and `label` say what the columns of `data` hold.
    """

    trainer: Target | None = None
    script: Script | None = None
    measure: Target | None = None
    evaluate: Target | None = None
    input: InputForm = "text"
    label: LabelForm | Literal["none"] = "class"

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.trainer is None) == (self.script is None):
            found = "neither" if self.trainer is None else "both"
            raise ValueError(
                f"needs trainer: module:function, which returns a Trainer, or script: FILE.py, got "
                f"{found}"
            )
        return self


class CustomTask(TaskKind):
    """A task whose training is the user's code."""

    Settings: ClassVar[type[Settings]] = CustomSettings
    searchable: ClassVar[tuple[str, ...]] = ()
    has_text: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ()
    is_own_code: ClassVar[bool] = True
    data_settings: ClassVar[tuple[str, ...]] = ("input", "label", "evaluate")

    def pipeline(self, task: TaskFields) -> str:
        """Return nothing: only the user knows."""
        return ""

    def predictor(self, task: TaskFields, folder: str, **options: Any) -> Any:
        """Refuse: only the user knows how the model predicts."""
        raise DataError(
            f"{folder}: only your own code knows how the model of a custom task predicts; load it "
            f"from this folder with the class that the training used"
        )

    def usage(self, task: TaskFields) -> str:
        """Return how to load the model, as far as it is known."""
        return (
            "from transformers import AutoModel\n\n"
            'model = AutoModel.from_pretrained("path/to/this/folder")  '
            "# or the class that the training used"
        )

    def metrics(self, task: TaskFields) -> Mapping[str, Metric]:
        """Return the loss, which the Trainer always has; a script reports what it likes."""
        return {} if task.settings.script else {"loss": Metric("loss", "lower")}

    def gate_rows(self, task: TaskFields) -> str:
        """Return the rows of the user's evaluation, or else those of the trial."""
        return "held-out test rows" if task.settings.evaluate else "validation rows"

    def form(self, task: TaskFields) -> Form:
        """Return what the file says of the data."""
        label = task.settings.label
        return Form(task.settings.input, None if label == "none" else label)

    def names(self, task: TaskFields, labels: Iterable[Any]) -> list[str]:
        """Return the classes of the training rows, sorted."""
        if task.settings.label == "class":
            return sorted(set(map(str, labels)))
        if task.settings.label == "classes":
            return sorted({str(name) for row in labels for name in row})
        return []

    def processor(
        self, task: TaskFields, source: str, inputs: Sequence[Any], shape: Shape | None
    ) -> Any:
        """Return None: the user's code encodes."""

    def load_processor(self, folder: Path) -> Any:
        """Return None."""

    def identity(self, processor: Any) -> str:
        """Return nothing that could change."""
        return ""

    def encode(
        self, task: TaskFields, batch: Batch, processor: Any, names: Sequence[str]
    ) -> dict[str, list[Any]]:
        """Return the rows as they are."""
        return {name: list(column) for name, column in batch.items()}

    def collator(self, task: TaskFields, processor: Any, shape: Shape | None) -> Collate:
        """Return a function that must not be called: the Trainer has its own."""
        raise NotImplementedError("the collator is the user's")

    def model_class(self, task: TaskFields) -> Any:
        """Return transformers' most general class."""
        from transformers import AutoModel

        return AutoModel

    def compute_metrics(
        self, task: TaskFields, processor: Any, names: Sequence[str]
    ) -> Callable[[Any], dict[str, float]] | None:
        """Return None: the Trainer has its own."""

    def evaluate(self, task: TaskFields, loaded: Loaded) -> Evaluated:
        """Measure nothing: trial/own/evaluation.py calls the user's function."""
        raise NotImplementedError("the evaluation is the user's")


KIND = CustomTask()
