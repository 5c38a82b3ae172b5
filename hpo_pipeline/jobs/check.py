"""Checks that need transformers: its arguments and configs, the user's metrics and the model.

The second half of `hpo check`; the first, experiment/checks/sections.py, needs no torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpo_pipeline.experiment.checks.prices import places_that_read
from hpo_pipeline.experiment.checks.strategies import rules_of
from hpo_pipeline.experiment.cluster import Cluster
from hpo_pipeline.experiment.prices import COST, ENERGY
from hpo_pipeline.experiment.space import Space
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.jobs.model_checks import model_faults
from hpo_pipeline.jobs.training_checks import training_faults
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.tasks.user_metrics import metric_fault
from hpo_pipeline.trial.measuring.energy import device_here, open_meter, unreadable
from hpo_pipeline.trial.training.precision import precision_fault


def argument_faults(sections: dict[str, Any]) -> list[str]:
    """Return what transformers would refuse, for the sections that are right by themselves."""
    task: Task | None = sections.get("task")
    space: Space | None = sections.get("space")
    faults = training_faults(task, space)
    if task is not None:
        faults += _metric_faults(task)
        faults += _code_faults(task)
        serve = sections.get("serve")
        if TASKS[task.kind].is_own_code and serve is not None and not serve.is_plain:
            faults.append(f"serve: a model of {task.kind} is served as its training saves it")
        faults += model_faults(task, space, rules_of(sections))
        faults += device_faults(sections)
    return faults


def device_faults(sections: dict[str, Any]) -> list[str]:
    """Return what cannot be computed or measured, where this machine is the one that trains."""
    if sections.get("cluster") != Cluster():
        return []
    task: Task | None = sections.get("task")
    fault = precision_fault(task.precision) if task is not None else None
    faults = [fault] if fault else []
    device = device_here()
    has_gpu = device.type == "cuda"
    prices = sections.get("prices")
    readers = places_that_read(sections, COST)
    serve = sections.get("serve")
    if readers and prices is not None and (serve is None or serve.instance is None):
        name = "gpu_hour" if has_gpu else "cpu_hour"
        if getattr(prices, name) is None:
            device_words = "a GPU" if has_gpu else "no GPU"
            faults.append(f"prices.{name}: is missing for {COST}: this machine has {device_words}")
    energy = places_that_read(sections, ENERGY)
    if energy and open_meter(device) is None:
        why = "NVML gives no energy; install nvidia-ml-py" if has_gpu else unreadable()
        faults += [
            f"{where}: {ENERGY} cannot be measured on this machine: {why}" for where in energy
        ]
    return faults


def _metric_faults(task: Task) -> list[str]:
    if task.metrics and not TASKS[task.kind].has_own_metrics:
        return [f"task.metrics: {task.kind} computes no metrics of yours; leave them out"]
    found = {name: metric_fault(target) for name, target in task.metrics.items()}
    return [f"task.metrics.{name}: {fault}" for name, fault in found.items() if fault]


def _code_faults(task: Task) -> list[str]:
    """Return which of the user's own functions and scripts are not there."""
    targets = {n: getattr(task.settings, n, None) for n in ("trainer", "measure", "evaluate")}
    found = {name: metric_fault(target) for name, target in targets.items() if target}
    faults = [f"task.{name}: {fault}" for name, fault in found.items() if fault]
    script = getattr(task.settings, "script", None)
    if script is not None:
        if not Path(script).is_file():
            faults.append(f"task.script: there is no file {script}")
        for name in ("training", "checkpoint"):
            if getattr(task, name):
                faults.append(f"task.{name}: is for trainers; a script does that itself")
    return faults
