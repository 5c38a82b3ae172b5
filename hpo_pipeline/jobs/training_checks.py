"""What transformers says to the training arguments: names, values, and the optimiser they make.

Optimiser and schedule are built as the Trainer builds them, on a stand-in of a few weights, because
a missing package or argument would otherwise end every trial at its first step.
"""

from __future__ import annotations

import dataclasses
import difflib
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError
from transformers import TrainingArguments

from hpo_pipeline.experiment.schema import bounds
from hpo_pipeline.experiment.space import Space
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.tasks.inputs.base_config import one_line

_EVALUATION = "a trial reports the metrics of the task for all validation rows"
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
    "prediction_loss_only": _EVALUATION,
    "label_names": _EVALUATION,
    "batch_eval_metrics": _EVALUATION,
    "eval_do_concat_batches": _EVALUATION,
    "include_for_metrics": _EVALUATION,
    "eval_use_gather_object": _EVALUATION,
    "auto_find_batch_size": "a trial that runs out of memory fails, with its batch size",
}
_OPTIMISER = ("optim", "lr_scheduler")


def training_faults(task: Task | None, space: Space | None) -> list[str]:
    """Return what is wrong with the training arguments of the task and of the space."""
    fixed = task.training if task is not None else {}
    is_open = task is not None and TASKS[task.kind].is_own_code
    faults = _name_faults(fixed, "task.training.")
    found = _value_faults(fixed, fixed, "task.training")
    faults += found
    if space is not None:
        names = [name for name in space if "." not in name]
        # What is no training argument is a parameter of the user's code.
        faults += _name_faults(names, "space.", is_open=is_open)
        # A value is tried beside the fixed arguments, unless those are wrong by themselves.
        beside = {} if found else fixed
        faults += dict.fromkeys(
            fault
            for name in names
            for value in bounds(space, name)
            for fault in _value_faults({**beside, name: value}, {name: value}, f"space.{name}")
        )
    return faults


def hint(name: str, known: Sequence[str]) -> str:
    """Return a question about the nearest names that are known, if any is near."""
    close = difflib.get_close_matches(name, known, n=3)
    return f"; did you mean {', '.join(close)}?" if close else ""


def _name_faults(names: Iterable[str], where: str, *, is_open: bool = False) -> list[str]:
    known = [f.name for f in dataclasses.fields(TrainingArguments)]
    faults = []
    for name in names:
        if name in OWN_ARGUMENTS:
            faults.append(f"{where}{name}: is not for experiments: {OWN_ARGUMENTS[name]}")
        elif name not in known and not is_open:
            faults.append(f"{where}{name}: no field of TrainingArguments{hint(name, known)}")
    return faults


def _value_faults(arguments: Mapping[str, Any], shown: Mapping[str, Any], where: str) -> list[str]:
    """Return what transformers says to arguments of known names; `shown` are those to blame."""
    types = {f.name: f.type for f in dataclasses.fields(TrainingArguments) if f.init}
    values = {n: v for n, v in arguments.items() if n in types and n not in OWN_ARGUMENTS}
    shown = {n: v for n, v in shown.items() if n in values}
    if wrong := {n: v for n, v in shown.items() if not _is_of(types[n], v)}:
        kinds = ", ".join(f"{n} is {getattr(types[n], '__name__', types[n])}" for n in wrong)
        return [f"{where}: {kinds}, got {wrong}"]
    with tempfile.TemporaryDirectory() as folder:
        try:
            made = TrainingArguments(**{"output_dir": folder, "eval_strategy": "epoch", **values})
            if made.eval_strategy == "no":
                return [f"{where}: a trial must be evaluated, by epoch or steps, got {shown}"]
            if any(name.startswith(_OPTIMISER) for name in values):
                from hpo_pipeline.trial.training.optimiser import try_optimiser  # slow to import

                try_optimiser(made)
        # Optimisers of other packages raise what they like.
        except Exception as error:
            return [f"{where}: {_reason(error)}, got {shown}"]
    return []


def _reason(error: Exception) -> str:
    if isinstance(error, ImportError):
        return f"a package is missing or too old ({one_line(error)})"
    return one_line(error)


def _is_of(kind: Any, value: object) -> bool:
    """Return whether a value is of a plain type; transformers itself does not look."""
    plain = {bool, int, float, str, type(None)}
    if not plain.issuperset(get_args(kind) or (kind,)):
        return True
    try:
        TypeAdapter(kind).validate_python(value, strict=True)
    except ValidationError:
        return False
    return True
