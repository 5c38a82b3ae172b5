"""A Trainer that the user's function returns, made into a trial's.

It is used as it is, whatever subclass it is: what a trial adds are callbacks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import Trainer

from hpo_pipeline.data.prepared.dataset import DatasetMeta
from hpo_pipeline.errors import HpoError, TrialError
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.results.files import write_json
from hpo_pipeline.tasks.user_metrics import shown, user_function
from hpo_pipeline.trial.measuring.practical_metrics import forward_whole
from hpo_pipeline.trial.own.context import TrialContext
from hpo_pipeline.trial.resuming.training_state import random_state, set_random_state
from hpo_pipeline.trial.training.building import Built, OwnMeasure, Practical, Sample
from hpo_pipeline.trial.training.precision import as_saved

logger = logging.getLogger(__name__)

METRICS_FILE = "hpo_metrics.json"
"""In the folder of a model of the user's own: what its trial measured on the validation rows."""
_PICKLE = "training_args.bin"


def build_own(
    task: Task, context: TrialContext, *, earlier: float = 0.0, own_measure: OwnMeasure | None
) -> Built:
    """Return the Trainer that the user's function returns.

    Raises:
        TrialError: it returns something else, it raises, or its Trainer ignores the values that
            the search chose.
    """
    one_gpu()
    settings: Any = task.settings
    target: str = settings.trainer
    transformers.set_seed(context.seed)
    trainer = call(target, context, name="the trainer")
    if not isinstance(trainer, Trainer):
        raise TrialError(
            f"{shown(target)} must return a transformers.Trainer, got "
            f"{type(trainer).__module__}.{type(trainer).__qualname__}"
        )
    _check(trainer, context, shown(target))

    def save(folder: Path) -> Any:
        trainer.save_model(str(folder))
        (folder / _PICKLE).unlink(missing_ok=True)  # a pickle has no place beside a model
        return as_saved(trainer)

    return Built(trainer, Practical(partial(_sample, trainer), own_measure, earlier=earlier), save)


def own_context(
    task: Task, *, name: str, assignments: Mapping[str, Any], seed: int, dataset: Path, output: Path
) -> TrialContext:
    """Return what the user's function is given."""
    meta = DatasetMeta.read(dataset)
    return TrialContext(
        name=name,
        seed=seed,
        assignments=assignments,
        task=task,
        folder=output.parent,
        output=output,
        dataset=dataset,
        labels=tuple(meta.labels),
    )


def own_measure(task: Task) -> OwnMeasure | None:
    """Return the user's function for practical metrics, if the file names one."""
    target = getattr(task.settings, "measure", None)
    if target is None:
        return None
    return partial(_call_measure, target)


def _call_measure(target: str, model: Any, folder: Path | None) -> Mapping[str, Any]:
    found: Mapping[str, Any] = call(target, model, folder, name="the measure")
    return found


def call(target: str, *arguments: Any, name: str) -> Any:
    """Call a function of the user's.

    Raises:
        TrialError: it cannot be loaded, or it raises; the log has the traceback.
    """
    function: Callable[..., Any] = user_function(target, name)
    try:
        return function(*arguments)
    except HpoError:
        raise
    # Foreign code may raise anything, and the trial should say whose code it was.
    except Exception as error:
        logger.exception("%s %s failed", name, shown(target))
        first = (str(error).splitlines() or [""])[0]
        raise TrialError(f"{shown(target)} raised {type(error).__name__}: {first}") from error


def one_gpu() -> None:
    """Refuse to run where one process sees several GPUs.

    Raises:
        TrialError: it does; the Trainer would use nn.DataParallel without being asked.
    """
    count = torch.cuda.device_count()
    if count > 1:
        raise TrialError(
            f"this trial sees {count} GPUs, and takes exactly one: the Trainer would spread each "
            f"batch over all of them (nn.DataParallel) and change its size; set "
            f"CUDA_VISIBLE_DEVICES, or cluster.gpus: 1"
        )


def write_metrics(folder: Path, metrics: Mapping[str, float]) -> None:
    """Write what a trial measured beside its model, for a gate without rows of its own."""
    write_json(folder / METRICS_FILE, {"split": "validation", "metrics": dict(metrics)})


def _check(trainer: Trainer, context: TrialContext, target: str) -> None:
    """Raise where the Trainer does not do what the trial asks for."""
    # Not made into arguments once more: that would reset the state that this Trainer works with.
    asked = {
        **{n: v for n, v in context.assignments.items() if hasattr(trainer.args, n)},
        "output_dir": str(context.output),
        "seed": context.seed,
        "save_strategy": "no",
    }
    ignored = sorted(n for n, value in asked.items() if getattr(trainer.args, n) != value)
    if ignored:
        found = ", ".join(f"{n} is {getattr(trainer.args, n)} and not {asked[n]}" for n in ignored)
        raise TrialError(
            f"{target} ignores what the trial asks for: {found}; build the Trainer with "
            f"context.arguments, or context.training_arguments(CLASS, …)"
        )
    if str(getattr(trainer.args.eval_strategy, "value", trainer.args.eval_strategy)) == "no":
        raise TrialError(f"{target}: eval_strategy is no, and a trial must evaluate")
    if isinstance(trainer.eval_dataset, dict) or trainer.eval_dataset is None:
        kind = "none" if trainer.eval_dataset is None else "a dict of several"
        raise TrialError(f"{target}: the Trainer must have one eval_dataset, and it has {kind}")


def _sample(trainer: Trainer) -> Sample | None:
    """Return rows on which speed can be measured, or None where no batch of them runs."""
    numbers = random_state()
    try:
        loader = trainer.get_eval_dataloader()
        rows, collate = loader.dataset, loader.collate_fn
        batch = collate([rows[0]])
        model, was_training = trainer.model, trainer.model.training
        device = next(model.parameters()).device
        inputs = {n: v.to(device) for n, v in batch.items() if n != "labels"}
        model.eval()
        try:
            with torch.inference_mode():
                forward_whole(model, inputs)
        finally:
            model.train(was_training)
    # The model, the rows and the collator are the user's, and may need anything.
    except Exception as error:
        logger.info("no latency is measured: a batch of one row does not run (%s)", error)
        return None
    finally:
        set_random_state(numbers)
    return Sample(rows, collate, forward_whole)
