"""A finished model folder, opened as its user would: with its own processor, as it is served."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.trial.artefact.build import Artefact, open_artefact
from hpo_pipeline.trial.artefact.record import Record, read_record


@dataclass(frozen=True)
class Opened:
    """A model on its device, in evaluation mode, and the artefact that serves it."""

    model: Any
    processor: Any
    serve: Record
    served: Artefact


def open_finished(task: Task, folder: Path, *, threads: int | None = None) -> Opened:
    """Load a model folder.

    Args:
        threads: of the CPU, which all of this process then uses; by default what it serves with
            are those that the folder tells.

    Raises:
        DataError: it is not a model of this task, or its artefact cannot be opened.
    """
    kind = TASKS[task.kind]
    model = load_model(task, folder)
    model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    processor = kind.load_processor(folder)
    serve = read_record(folder)
    if threads is not None:
        torch.set_num_threads(threads)
        serve = serve.model_copy(update={"threads": threads})
    return Opened(
        model, processor, serve, open_artefact(model, serve, folder, torch.get_num_threads())
    )


def load_model(task: Task, folder: Path) -> Any:
    """Return the model of a folder, on the CPU.

    Raises:
        DataError: it is not a model of this task.
    """
    transformers.utils.logging.disable_progress_bar()
    try:
        return (
            TASKS[task.kind]
            .model_class(task)
            .from_pretrained(
                str(folder), use_safetensors=True, trust_remote_code=task.trust_remote_code
            )
        )
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: is not a model for {task.kind}: {error}") from error
