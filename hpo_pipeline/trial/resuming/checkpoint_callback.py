"""When a training is saved, and how it resumes to the last digit.

The Trainer itself resumes (`resume_from_checkpoint`) and finds its place among the rows. Saving is
ours: its own way is not atomic, lets a full disk end the training, and writes weights that some
models cannot load. Added last of all callbacks, so that what others decide is known here.

A checkpoint must hold what has been evaluated at its step: the Trainer evaluates after the step or
after the epoch, and does not make up for it when it resumes. So it is taken behind the evaluation.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.optim.lr_scheduler import ReduceLROnPlateau
from transformers import TrainerCallback
from transformers.optimization import GreedyLR

from hpo_pipeline.experiment.checkpoint import Checkpoint
from hpo_pipeline.trial.reporting.stop_request import CUT_OFF_EXIT, StopRequest
from hpo_pipeline.trial.resuming import training_state
from hpo_pipeline.trial.resuming.checkpoints import Checkpoints, Record, Saved
from hpo_pipeline.trial.training.callback import TrialCallback


@dataclass(frozen=True)
class Resume:
    """How a trial saves itself, and the checkpoint that it resumes from, if there is one."""

    every: Checkpoint
    store: Checkpoints
    stop: StopRequest
    saved: Saved | None = None


class CheckpointCallback(TrainerCallback):
    """Saves one training as often as asked, and once more when the trial is cut off.

    Attributes:
        seconds: wall time that saving took.
    """

    def __init__(
        self,
        resume: Resume,
        trial: TrialCallback,
        *,
        scaler: Callable[[], Any],
        spent: Callable[[], dict[str, float]],
        environment: dict[str, str],
    ) -> None:
        """Save what `trial` has found, with the wall time `spent` so far."""
        self._every = resume.every
        self._store = resume.store
        self._stop = resume.stop
        self._saved = resume.saved
        self._trial = trial
        self._scaler = scaler
        self._spent = spent
        self._environment = environment
        self._best_in: tuple[int, Path] | None = None
        self._last_step = 0 if resume.saved is None else resume.saved.record.step
        self._last_time = time.monotonic()
        self._is_due = False
        self._epoch: dict[str, Any] = {}
        self.seconds = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take over what the checkpoint had; from now on a cut-off waits for a step's end."""
        if self._saved is not None:
            record = self._saved.record
            weights = training_state.read_best(self._saved.folder)
            self._trial.resume(record.curve, record.best_step, weights)
            if weights is not None and record.best_step is not None:
                self._best_in = record.best_step, self._saved.folder
            args.eval_on_start = False  # it has been done
        self._last_time = time.monotonic()
        self._stop.hold()

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Have an epoch that is resumed take its rows in the order that it had."""
        if self._saved is not None:
            training_state.set_random_state(training_state.read_epoch(self._saved.folder))
            self._saved = None
        self._epoch = training_state.random_state()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save now, or after the evaluation that follows."""
        if control.should_training_stop:
            self._is_due = False
            return
        self._is_due = self._is_due or self._is_time(state.global_step) or self._stop.is_cut_off
        # The end of an epoch evaluates too, maybe, and begins another.
        if self._is_due and not control.should_evaluate and not _ends_epoch(state):
            self._save(state, kwargs)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save with this evaluation."""
        # The schedule that follows the metrics takes its step only after this.
        is_ready = not isinstance(_bare(kwargs["lr_scheduler"]), ReduceLROnPlateau | GreedyLR)
        if self._is_due and is_ready and not control.should_training_stop:
            self._save(state, kwargs, is_epoch_over=_ends_epoch(state))

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save behind the last step of an epoch where no evaluation follows."""
        if self._is_due and not control.should_evaluate and not control.should_training_stop:
            self._save(state, kwargs, is_epoch_over=True)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Let a cut-off end the trial at once again: no step follows."""
        self._stop.release()

    def _is_time(self, step: int) -> bool:
        if self._every.steps is not None:
            return step % self._every.steps == 0
        return time.monotonic() - self._last_time >= (self._every.seconds or 0)

    def _save(self, state: Any, kwargs: dict[str, Any], *, is_epoch_over: bool = False) -> None:
        start = time.perf_counter()
        trial = self._trial
        best_step = None if trial.best is None else trial.best.step
        record = Record(
            key=self._store.key,
            step=state.global_step,
            curve=tuple(trial.curve),
            best_step=best_step,
            seconds=self._spent(),
            environment=self._environment,
            shares=trial.shares,
        )
        epoch = training_state.random_state() if is_epoch_over else self._epoch

        def fill(folder: Path) -> None:
            training_state.write_weights(
                training_state.trained_weights(kwargs["model"]),
                folder / training_state.WEIGHTS_FILE,
            )
            training_state.write_progress(
                folder, kwargs["optimizer"], kwargs["lr_scheduler"], self._scaler()
            )
            training_state.write_epoch(folder, epoch)
            state.save_to_json(str(folder / "trainer_state.json"))
            if trial.best_weights is not None:
                same = self._best_in is not None and self._best_in[0] == best_step
                before = self._best_in[1] if self._best_in and same else None
                training_state.write_best(trial.best_weights, folder, before)

        if self._store.write(record, fill):
            place = self._store.place(record.step)
            self._best_in = None if best_step is None else (best_step, place)
        if self._stop.is_cut_off:
            print(f"cut off by SIGTERM at step {state.global_step}, which is saved", flush=True)
            os._exit(CUT_OFF_EXIT)
        self._is_due = False
        self._last_time = time.monotonic()
        self.seconds += time.perf_counter() - start


def _ends_epoch(state: Any) -> bool:
    """Return whether a step was the last of its epoch: (step + 1) / steps is 1 exactly then."""
    return float(state.epoch or 0).is_integer()


def _bare(scheduler: Any) -> Any:
    return getattr(scheduler, "scheduler", scheduler)
