"""A Trainer for tags of words: its metrics count words, its training may label all their tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch.utils.data import SequentialSampler
from transformers import Trainer


class TaggingTrainer(Trainer):
    """A Trainer over rows of words.

    Its evaluations keep the order of the rows, whatever the sampling of the training, because the
    metrics look each row's words up.

    Attributes:
        data_collator: a WordCollator.
    """

    data_collator: Any

    def __init__(self, *, label_all: bool, **arguments: Any) -> None:
        rows, measure = arguments.get("eval_dataset"), arguments.get("compute_metrics")
        if rows is not None and measure is not None:
            arguments["compute_metrics"] = replace(measure, rows=rows)
        super().__init__(**arguments)
        self._label_all = label_all

    def get_train_dataloader(self) -> Any:
        """Return the batches of the training, with the labels that it is to learn."""
        collate: Any = self.data_collator
        self.data_collator = replace(collate, label_all=self._label_all)
        try:
            return super().get_train_dataloader()
        finally:
            self.data_collator = collate

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        return SequentialSampler(eval_dataset)
