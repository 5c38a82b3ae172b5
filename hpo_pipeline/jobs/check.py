"""Checks that need transformers: its arguments and configs, the user's metrics and the model.

The second half of `hpo check`; the first, experiment/checks.py, needs no torch.
"""

from __future__ import annotations

from typing import Any

from hpo_pipeline.experiment.space import Space
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.jobs.model_checks import model_faults
from hpo_pipeline.jobs.training_checks import training_faults
from hpo_pipeline.tasks.user_metrics import metric_fault


def argument_faults(sections: dict[str, Any]) -> list[str]:
    """Return what transformers would refuse, for the sections that are right by themselves."""
    task: Task | None = sections.get("task")
    space: Space | None = sections.get("space")
    faults = training_faults(task, space)
    if task is not None:
        faults += _metric_faults(task)
        faults += model_faults(task, space)
    return faults


def _metric_faults(task: Task) -> list[str]:
    found = {name: metric_fault(target) for name, target in task.metrics.items()}
    return [f"task.metrics.{name}: {fault}" for name, fault in found.items() if fault]
