"""A Trainer whose training batches are made in another way than those of its evaluations."""

from __future__ import annotations

from typing import Any

from transformers import Trainer


class TrainingCollatorTrainer(Trainer):
    """A Trainer with a collator for the training beside `data_collator`, which evaluations use."""

    data_collator: Any

    def __init__(self, *, training_collator: Any, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._training_collator = training_collator

    def get_train_dataloader(self) -> Any:
        """Return the batches of the training."""
        collate = self.data_collator
        self.data_collator = self._training_collator
        try:
            return super().get_train_dataloader()
        finally:
            self.data_collator = collate
