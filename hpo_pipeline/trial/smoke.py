"""Two training steps on a few rows: `hpo check --smoke` shows what a trial would report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PrinterCallback

from hpo_pipeline.errors import TrialError
from hpo_pipeline.experiment.schema import Experiment, bounds
from hpo_pipeline.trial.training.callback import own_names
from hpo_pipeline.trial.training.trainings import TrialSpec, build_trainer

ROWS = 16
STEPS = 2


def smoke(experiment: Experiment, dataset: Path, folder: Path) -> dict[str, float]:
    """Train two steps of the first configuration on a few rows; return its metrics.

    Args:
        dataset: a prepared one.
        folder: what the Trainer writes goes there.

    Raises:
        TrialError: the training fails, or it is a script, which has no steps to count.
    """
    if getattr(experiment.task.settings, "script", None) is not None:
        raise TrialError("a script cannot be tried for two steps; run it by itself")
    space = experiment.space
    assignments = space.active({name: bounds(space, name)[0] for name in space})
    spec = TrialSpec("smoke", 0, assignments, dataset, folder, experiment.search.seed)
    task = experiment.task.assigned(assignments)
    trainer = build_trainer(task, spec, folder / "trainer").trainer
    trainer.remove_callback(PrinterCallback)
    trainer.train_dataset = _few(trainer.train_dataset)
    trainer.eval_dataset = _few(trainer.eval_dataset)
    trainer.args.max_steps, trainer.args.eval_strategy = STEPS, "no"
    try:
        trainer.train()
        return own_names(trainer.evaluate())
    # The Trainer may be the user's own, and raise anything.
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        raise TrialError(f"the training failed: {type(error).__name__}: {first}") from error


def _few(rows: Any) -> Any:
    if isinstance(rows, Dataset):
        return rows.select(range(min(ROWS, len(rows))))
    return rows[:ROWS] if isinstance(rows, list) else rows
