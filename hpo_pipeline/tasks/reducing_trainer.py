"""A Trainer that measures each batch of an evaluation at once, and gathers no outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from transformers import Trainer
from transformers.trainer_utils import EvalLoopOutput

Measure = Callable[[Any, Iterable[Any]], dict[str, float]]
"""Returns the metrics of a model in evaluation mode over batches, loss included."""


class ReducingTrainer(Trainer):
    """A Trainer whose evaluations are a function over the batches."""

    def __init__(self, *, measure: Measure, extras: dict[str, Any], **arguments: Any) -> None:
        """Make the Trainer.

        Args:
            extras: arguments of the model's forward pass beside those of a training batch.
        """
        super().__init__(**arguments)
        self._measure = measure
        self._extras = extras

    def compute_loss(self, model: Any, inputs: Any, *arguments: Any, **others: Any) -> Any:
        """Compute the loss as transformers does."""
        return super().compute_loss(model, {**inputs, **self._extras}, *arguments, **others)

    def evaluation_loop(
        self,
        dataloader: Any,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> Any:
        """Measure the model on the batches."""
        self.model.eval()
        with self.compute_loss_context_manager():
            found = self._measure(self.model, dataloader)
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in found.items()}
        return EvalLoopOutput(None, None, metrics, len(dataloader.dataset))
