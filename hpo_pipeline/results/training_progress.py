"""How far a trial is within its training, from its last evaluation; pure."""

from __future__ import annotations

from dataclasses import dataclass

from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.trial import Trial

DEFAULT_EPOCHS = 3.0
"""`num_train_epochs` of transformers.TrainingArguments."""


@dataclass(frozen=True)
class TrainingProgress:
    """A trial's place in its training; `epochs` or `steps` is None while it is not known."""

    epoch: float
    epochs: float | None
    step: int
    steps: int | None

    @property
    def done(self) -> float:
        """The part that is done, 0 to 1."""
        if self.steps:
            return min(1.0, self.step / self.steps)
        return min(1.0, self.epoch / self.epochs) if self.epochs else 0.0


def training_progress(experiment: Experiment, trial: Trial) -> TrainingProgress | None:
    """Return where a trial is; None where its length is not known.

    That is so with a script of one's own, and where a trial resumes another's training. Where
    epochs decide, the number of steps is known after the first evaluation.
    """
    if getattr(experiment.task.settings, "script", None) is not None or trial.parent is not None:
        return None
    settings = {**experiment.task.training, **trial.assignments}
    last = trial.curve[-1] if trial.curve else None
    epoch, step = (last.epoch, last.training_step) if last else (0.0, 0)
    # Trainings on shares of the rows come before the first epoch, and have steps of their own.
    step -= max((p.training_step for p in trial.curve if p.epoch == 0), default=0)
    most = settings.get("max_steps")
    if isinstance(most, int) and most > 0:
        return TrainingProgress(epoch, epoch * most / step if step else None, step, most)
    epochs = settings.get("num_train_epochs", DEFAULT_EPOCHS)
    if not isinstance(epochs, int | float) or epochs <= 0:
        return None
    steps = max(step, round(step * float(epochs) / epoch)) if epoch > 0 else None
    return TrainingProgress(epoch, float(epochs), step, steps)
