"""What the user's function is given to build its Trainer from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from datasets import Dataset, load_from_disk
from transformers import TrainingArguments

from hpo_pipeline.errors import DataError, TrialError
from hpo_pipeline.experiment.space import Value
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.trial.training.loading import own_arguments
from hpo_pipeline.trial.training.precision import with_precision

A = TypeVar("A", bound=Any)


@dataclass(frozen=True)
class TrialContext:
    """One trial, as the user's own code sees it.

    Attributes:
        name: of the trial.
        seed: decides new weights and the order of rows; random numbers are seeded with it already.
        assignments: every value that the search chose, by its name in the space.
        task: the section `task`, with these values in it.
        folder: of the trial; what is written there is kept.
        output: where the Trainer may write.
        labels: the classes of the training rows, in order; empty for other labels.
    """

    name: str
    seed: int
    assignments: Mapping[str, Value]
    task: Task
    folder: Path
    output: Path
    dataset: Path
    labels: tuple[str, ...] = ()

    @property
    def parameters(self) -> dict[str, Value]:
        """The searched values that are no field of TrainingArguments."""
        known = {field.name for field in dataclasses.fields(TrainingArguments)}
        return {name: value for name, value in self.assignments.items() if name not in known}

    @property
    def arguments(self) -> TrainingArguments:
        """The training arguments of the file, with the searched values in them."""
        found: TrainingArguments = self.training_arguments(TrainingArguments)
        return found

    def training_arguments(self, kind: type[A], **more: Any) -> A:
        """Return arguments of a subclass, such as SFTConfig, with further fields of its own.

        Searched values that are fields of the subclass alone are among them, and the precision
        where `task.precision` names one.

        Raises:
            TrialError: the class refuses them, or this machine does not compute in that precision.
        """
        known = {field.name for field in dataclasses.fields(kind)}
        searched = {name: value for name, value in self.parameters.items() if name in known}
        own = own_arguments(self.task, self.output, self.seed, known - {*more})
        try:
            found: A = kind(**{**_in_fp32(kind), **more, **own, **searched})
        except (ValueError, TypeError) as error:
            raise TrialError(f"the training arguments were refused: {error}") from error
        # Whether bfloat16 would pay, which `auto` asks, depends on a model that is not there yet.
        wanted = self.task.precision
        return found if wanted == "auto" else with_precision(found, wanted, None)

    def split(self, name: Literal["train", "validation", "test"]) -> Dataset:
        """Return the rows of a split, with the columns `input` and, unless it is none, `label`.

        Raises:
            DataError: the experiment has no data.
        """
        if not self.task.data:
            raise DataError(f"split({name!r}): the experiment names no data (task.data)")
        found = load_from_disk(str(self.dataset / name))
        assert isinstance(found, Dataset)
        return found


def _in_fp32(kind: type[Any]) -> dict[str, bool]:
    """Return what keeps a class off bfloat16 where it would take it unasked, and there is no GPU.

    SFTConfig and its like do, and transformers refuses it on a processor unless told `use_cpu`.
    """
    if torch.cuda.is_available() or not issubclass(kind, TrainingArguments):
        return {}
    (default,) = [field.default for field in dataclasses.fields(kind) if field.name == "bf16"]
    return {} if default is False else {"bf16": False}
