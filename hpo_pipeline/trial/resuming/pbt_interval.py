"""One interval of a training in population based training: resume from a parent, end, leave a
checkpoint.

Weights, optimiser, schedule and random numbers are transformers' own checkpoint, written and
read by the Trainer as it is. The callback here gives the restored optimiser the trial's own
hyperparameters, and ends the training with an evaluation and a checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, get_last_checkpoint

from hpo_pipeline.errors import TrialError
from hpo_pipeline.experiment.population import Population
from hpo_pipeline.results.files import CHECKPOINT_FOLDER
from hpo_pipeline.results.trial import read_trial


@dataclass(frozen=True)
class Parent:
    """The trial to resume from: its number, its checkpoint, and how many evaluations it made."""

    number: int
    checkpoint: Path
    evaluations: int


def read_parent(folder: Path) -> Parent:
    """Return the parent whose folder this is.

    Raises:
        TrialError: its result or its checkpoint is gone.
    """
    trial = read_trial(folder)
    place = folder / CHECKPOINT_FOLDER
    checkpoint = get_last_checkpoint(str(place)) if place.is_dir() else None
    if trial is None or not trial.curve or checkpoint is None:
        missing = "checkpoint" if trial is not None else "result"
        raise TrialError(f"{folder}: the {missing} from which this trial should resume is gone")
    return Parent(trial.number, Path(checkpoint), trial.curve[-1].step)


class IntervalCallback(TrainerCallback):
    """Ends a training where its interval ends, and checkpoints it unless it is the last."""

    def __init__(self, population: Population, number: int) -> None:
        self._population = population
        self._number = number
        self._wanted: list[dict[str, Any]] = []
        self._end = 0

    def override(self, optimizer: Any) -> None:
        """Have the settings of this new optimiser replace those that a checkpoint brings."""
        self._wanted = [
            {name: value for name, value in group.items() if name != "params"}
            for group in optimizer.param_groups
        ]

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Find the interval's end; the checkpoint, if any, has been loaded."""
        intervals = self._population.generations
        if state.max_steps < intervals:
            raise TrialError(
                f"the training has {state.max_steps} steps, too few for {intervals} intervals; "
                f"train longer, or lower budget.trials"
            )
        self._end = self._population.end(self._number, state.max_steps)
        if self._wanted:
            _override(kwargs["optimizer"], kwargs["lr_scheduler"], self._wanted)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End at the interval's end: evaluate, then save."""
        if state.global_step >= self._end:
            control.should_evaluate = control.should_training_stop = True
            control.should_save = self._end < state.max_steps

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the weights again, under the names that resuming expects.

        The Trainer saves the names of the hub and loads without translating them back, so that a
        ViT would silently start anew (huggingface/transformers#43701, #48805; in 5.23).
        """
        folder = Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        kwargs["model"].save_pretrained(str(folder), save_original_format=False)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Do not evaluate again where the epoch ends with the interval, or is cut by its end."""
        if state.global_step >= self._end:
            control.should_evaluate = control.should_save = False


def _override(optimizer: Any, scheduler: Any, wanted: list[dict[str, Any]]) -> None:
    """Set the hyperparameters of a restored optimiser; the schedule stays where it is."""
    for group, settings in zip(optimizer.param_groups, wanted, strict=True):
        base = group.get("initial_lr", group["lr"])
        scheduled = group["lr"] / base if base else 1.0
        rate = settings["lr"]
        group.update({**settings, "initial_lr": rate, "lr": rate * scheduled})
    # Of the schedules, only those that multiply a base rate by a factor have it.
    if hasattr(scheduler, "base_lrs"):
        scheduler.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
    scheduler._last_lr = [group["lr"] for group in optimizer.param_groups]
