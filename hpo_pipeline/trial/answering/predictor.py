"""A model folder that answers inputs: `hpo predict` and `hpo serve`.

What kind of model it is, its config says. What is run is the artefact that was measured.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.data_fields import Columns
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.tasks.answers import Answer, answers
from hpo_pipeline.tasks.inputs.image_scaling import ImageScaling
from hpo_pipeline.tasks.kind import Form, Loaded, Shape
from hpo_pipeline.trial.answering.finished import open_finished
from hpo_pipeline.trial.artefact.record import read_record

LONGEST = 512
_CONFIG = "config.json"
_KINDS = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForImageClassification": "image-classification",
    "ForConditionalGeneration": "seq2seq",
    "ForSeq2SeqLM": "seq2seq",
    "ForMaskedLM": "language-modeling",
    "ForCausalLM": "language-modeling",
    "LMHeadModel": "language-modeling",
}
_PROBLEMS = {"multi_label_classification": "multi_label", "regression": "regression"}


@dataclass(frozen=True)
class Reading:
    """How inputs are read.

    Attributes:
        columns: two names for pairs of texts.
        is_chat: whether an input is a list of messages.
        threshold: from which probability one of several labels is an answer.
    """

    columns: tuple[str, ...] = ()
    is_chat: bool = False
    max_length: int | None = None
    threshold: float | None = None


def task_of(folder: Path, reading: Reading) -> Task:
    """Return the task of a model folder, as far as its config says.

    Raises:
        DataError: the folder holds no model that this package knows.
    """
    try:
        config = json.loads((folder / _CONFIG).read_text("utf-8"))
        architecture = str((config.get("architectures") or [""])[0])
    except (OSError, ValueError, AttributeError, IndexError) as error:
        raise DataError(
            f"{folder}: has no {_CONFIG} that can be read ({error}); name a folder that holds a "
            f"model, such as runs/NAME/model"
        ) from error
    kind = next((k for end, k in _KINDS.items() if architecture.endswith(end)), None)
    if kind is None:
        raise DataError(
            f"{folder}: {architecture or 'its model'} is none of {', '.join(dict.fromkeys(_KINDS))}"
        )
    known = read_record(folder).max_length
    fields: dict[str, Any] = {"max_length": reading.max_length or known or _limit(config, folder)}
    if kind == "text-classification":
        problem = "regression" if len(config.get("id2label") or "ab") == 1 else "single_label"
        fields["problem"] = _PROBLEMS.get(str(config.get("problem_type")), problem)
        if reading.threshold is not None and fields["problem"] == "multi_label":
            fields["threshold"] = reading.threshold
    if kind == "token-classification":
        fields["scheme"] = "none"  # nothing is compared with tags, so no scheme is needed
    if kind == "language-modeling":
        is_masked = architecture.endswith("ForMaskedLM")
        fields["language_model"] = "masked" if is_masked else "causal"
        fields["examples"] = "chats" if reading.is_chat else "texts"
    columns = {"input": list(reading.columns)} if len(reading.columns) > 1 else {}
    content = {"kind": kind, "model": str(folder), "data": str(folder), "columns": columns}
    return Task.model_validate({**content, **fields})


def form_of(task: Task) -> Form:
    """Return what the inputs of a task hold."""
    return Form(TASKS[task.kind].form(task).input, None)


def image_shape(folder: Path) -> Shape:
    """Return the shape of the images that a model takes."""
    scaling = ImageScaling.load(folder)
    return scaling.height, scaling.width, len(scaling.mean)


@dataclass(frozen=True)
class Predictor:
    """A finished model as it is served.

    Attributes:
        title: what is run, in words.
    """

    task: Task
    loaded: Loaded
    title: str

    @property
    def form(self) -> Form:
        """What an input holds."""
        return form_of(self.task)

    def of_pairs(self) -> Predictor:
        """Return the same model for pairs of texts, which its config does not tell from texts.

        Raises:
            DataError: its kind takes no pairs.
        """
        if self.form.input != "text" or self.task.kind != "text-classification":
            raise DataError(f"models of {self.task.kind} take no pairs of texts; give texts")
        columns = Columns(input=("first", "second"))
        return replace(self, task=self.task.model_copy(update={"columns": columns}))

    def predict(self, inputs: Sequence[Any]) -> list[Answer]:
        """Return an answer for each input.

        Raises:
            DataError: an input cannot be encoded.
        """
        return answers(self.task, self.task.kind, self.loaded, inputs)


def open_predictor(folder: Path, task: Task, *, threads: int | None = None) -> Predictor:
    """Open a model folder to answer inputs.

    Args:
        threads: of the CPU for one request; those that the folder tells by default.

    Raises:
        DataError: the folder cannot be opened.
    """
    kind = TASKS[task.kind]
    shape = image_shape(folder) if form_of(task).input == "image" else None
    opened = open_finished(task, folder, threads=threads)
    config = opened.model.config
    names = [str(config.id2label[i]) for i in range(config.num_labels)]
    collate = kind.collator(task, opened.processor, shape)
    loaded = Loaded(
        opened.served.model, opened.processor, (), collate, names, opened.serve.rows_at_once
    )
    return Predictor(task, loaded, opened.serve.title)


def _limit(config: dict[str, Any], folder: Path) -> int:
    """Return how many tokens the model takes at most."""
    found = [config.get("max_position_embeddings"), config.get("n_positions"), LONGEST]
    try:
        tokenizer = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
        found.append(tokenizer.get("model_max_length"))
    except (OSError, ValueError, AttributeError):
        pass
    return max(4, min(n for n in found if isinstance(n, int) and n > 0))
