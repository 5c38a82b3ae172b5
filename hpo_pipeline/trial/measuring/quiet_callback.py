"""The callback by which a training stands still while another trial is timed."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from hpo_pipeline.trial.measuring.quiet import QuietSlot


class QuietCallback(TrainerCallback):
    """Gives way after each step, of training and of evaluation.

    Attributes:
        seconds: for which training stood still. Evaluations count theirs as their own.
    """

    def __init__(self, slot: QuietSlot) -> None:
        """Give way to the others of a slot."""
        self._slot = slot
        self.seconds = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Give way after a training step."""
        before = self._slot.waited
        self._slot.give_way()
        self.seconds += self._slot.waited - before

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Give way after a batch of an evaluation."""
        self._slot.give_way()
