"""Building the model of a trial: pretrained or from scratch, with fixed and searched fields."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
import transformers

from hpo_pipeline.errors import DataError, TrialError
from hpo_pipeline.experiment.space import Assignments, section
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.tasks.base_config import base_config

logger = logging.getLogger(__name__)


def config_overrides(
    task: Task, named: Mapping[str, Any], derived: Mapping[str, Any], assignments: Assignments
) -> dict[str, Any]:
    """Return the fields of the config that this trial sets.

    Fields that follow from the inputs (`derived`) hold only for a model from scratch: pretrained
    weights decide them otherwise. Those that follow from the labels (`named`) hold for all.
    """
    return {
        **(derived if task.from_scratch else {}),
        **task.config,
        **section(assignments, "model"),
        **named,
    }


def build_model(task: Task, source: str, overrides: dict[str, Any]) -> Any:
    """Return the model of a trial, in training mode, on the CPU.

    Raises:
        DataError: the model folder has no weights.
        TrialError: the config is one that the architecture refuses.
    """
    transformers.utils.logging.disable_progress_bar()
    model_class = TASKS[task.kind].model_class()
    config = base_config(task, source)
    for name, value in overrides.items():
        setattr(config, name, value)
    try:
        if task.from_scratch:
            return model_class.from_config(config, trust_remote_code=task.trust_remote_code)
        return model_class.from_pretrained(
            source,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            trust_remote_code=task.trust_remote_code,
        )
    except OSError as error:
        raise DataError(f"task.model: {source} has no safetensors weights: {error}") from error
    except (ValueError, TypeError, RuntimeError, ZeroDivisionError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise TrialError(f"the model cannot be built: {first}") from error


def freeze(model: Any, what: str) -> None:
    """Exclude the embeddings, or all but the head (`base`), from training."""
    base = getattr(model, model.base_model_prefix)
    if what == "embeddings":
        base.embeddings.requires_grad_(False)
    elif what == "base":
        base.requires_grad_(False)
