"""Checks that only transformers can make: names and values of its arguments and configs.

The second half of `hpo check`; the first, experiment_file.py, needs no torch.
"""

from __future__ import annotations

import dataclasses
import difflib
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError
from transformers import TrainingArguments

from hpo_pipeline.data.assets.source import model_source
from hpo_pipeline.errors import DataError, HpoError
from hpo_pipeline.experiment.schema import bounds
from hpo_pipeline.experiment.space import Space
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.tasks.base_config import base_config
from hpo_pipeline.tasks.user_metrics import user_metric

OWN_ARGUMENTS = {
    "output_dir": "the trial decides it",
    "do_train": "a trial always trains",
    "do_eval": "a trial always evaluates",
    "do_predict": "the test rows are not for trials",
    "load_best_model_at_end": "the model of the best evaluation is always kept",
    "metric_for_best_model": "the objective decides",
    "greater_is_better": "the objective decides",
    "save_strategy": "a trial keeps its best model, not checkpoints",
    "report_to": "results are in the run folder",
    "push_to_hub": "the registry publishes models",
    "resume_from_checkpoint": "a trial starts at its beginning",
    "disable_tqdm": "the run shows the progress",
    "remove_unused_columns": "the task decides the columns",
    "seed": "it is search.seed",
    "data_seed": "it is search.seed",
    "run_name": "it is the trial's name",
}


def argument_faults(sections: dict[str, Any]) -> list[str]:
    """Return what transformers would refuse, for the sections that are right by themselves."""
    task: Task | None = sections.get("task")
    space: Space | None = sections.get("space")
    faults: list[str] = []
    if task is not None:
        faults += _training_faults(task.training, "task.training.")
        faults += _value_faults(task.training, "task.training")
        faults += _metric_faults(task)
    if space is not None:
        names = {name: None for name in space if "." not in name}
        faults += _training_faults(names, "space.")
        faults += _space_value_faults(space)
    if task is not None:
        faults += _config_faults(task, space)
    return faults


def _training_faults(names: Iterable[str], where: str) -> list[str]:
    known = [f.name for f in dataclasses.fields(TrainingArguments)]
    faults = []
    for name in names:
        if name in OWN_ARGUMENTS:
            faults.append(f"{where}{name}: is not for experiments: {OWN_ARGUMENTS[name]}")
        elif name not in known:
            faults.append(f"{where}{name}: no field of TrainingArguments{_hint(name, known)}")
    return faults


def _value_faults(arguments: dict[str, Any], where: str) -> list[str]:
    """Return what TrainingArguments says to values of known names."""
    types = {f.name: f.type for f in dataclasses.fields(TrainingArguments) if f.init}
    values = {n: v for n, v in arguments.items() if n in types and n not in OWN_ARGUMENTS}
    if wrong := {n: v for n, v in values.items() if not _is_of(types[n], v)}:
        kinds = ", ".join(f"{n} is {getattr(types[n], '__name__', types[n])}" for n in wrong)
        return [f"{where}: {kinds}, got {wrong}"]
    with tempfile.TemporaryDirectory() as folder:
        try:
            made = TrainingArguments(**{"output_dir": folder, "eval_strategy": "epoch", **values})
        except (ValueError, TypeError, ImportError, OSError) as error:
            return [f"{where}: {(str(error).splitlines() or ['refused'])[0]}, got {values}"]
    if made.eval_strategy == "no":
        return [f"{where}: a trial must be evaluated, by epoch or steps, got {values}"]
    return []


def _is_of(kind: Any, value: object) -> bool:
    """Tell whether a value is of a plain type; transformers itself does not look."""
    plain = {bool, int, float, str, type(None)}
    if not plain.issuperset(get_args(kind) or (kind,)):
        return True
    try:
        TypeAdapter(kind).validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


def _space_value_faults(space: Space) -> list[str]:
    faults: dict[str, None] = {}
    for name in space:
        if "." in name:
            continue
        for value in bounds(space, name):
            faults |= dict.fromkeys(_value_faults({name: value}, f"space.{name}"))
    return list(faults)


def _metric_faults(task: Task) -> list[str]:
    faults = []
    for name, target in task.metrics.items():
        try:
            user_metric(target)
        except HpoError as error:
            faults.append(f"task.metrics.{name}: {error}")
    return faults


def _config_faults(task: Task, space: Space | None) -> list[str]:
    try:
        source = model_source(task.model)
        config = base_config(task, source)
    except DataError as error:
        return [str(error)]
    known = sorted({*config.to_dict(), *config.attribute_map} - {"transformers_version"})
    known = [name for name in known if not name.startswith("_")]
    fields: dict[str, list[Any]] = {f"task.config.{n}": [v] for n, v in task.config.items()}
    if space is not None:
        fields |= {f"space.{n}": bounds(space, n) for n in space if n.startswith("model.")}
    faults = _weight_faults(task, source)
    for path, values in fields.items():
        name = path.rpartition(".")[2]
        if name not in known:
            faults.append(f"{path}: no field of the config of {task.model}{_hint(name, known)}")
        else:
            faults += _pretrained_faults(task, config, path, values)
    return faults


def _weight_faults(task: Task, source: str) -> list[str]:
    """Say that a model folder has nothing to start from."""
    folder = Path(source)
    if task.from_scratch or not folder.is_dir() or any(folder.glob("*.safetensors")):
        return []
    return [
        f"task.model: {folder} has no *.safetensors weights; name a pretrained model, or set "
        f"from_scratch: true"
    ]


def _pretrained_faults(task: Task, config: Any, path: str, values: list[Any]) -> list[str]:
    """Say which fields do not fit the pretrained weights."""
    if task.from_scratch or path.rpartition(".")[2] != "num_hidden_layers":
        return []
    limit = config.num_hidden_layers
    if all(isinstance(value, int) and 1 <= value <= limit for value in values):
        return []
    return [f"{path}: the pretrained model has {limit} layers, got {values}"]


def _hint(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3)
    return f"; did you mean {', '.join(close)}?" if close else ""
