"""A Trainer for tags of words: its metrics count words, its training may label all their tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch.utils.data import SequentialSampler

from hpo_pipeline.tasks.training_collator import TrainingCollatorTrainer


class TaggingTrainer(TrainingCollatorTrainer):
    """A Trainer over rows of words, with a WordCollator.

    Its evaluations keep the order of the rows, whatever the sampling of the training, because the
    metrics look each row's words up.
    """

    def __init__(self, *, label_all: bool, **arguments: Any) -> None:
        rows, measure = arguments.get("eval_dataset"), arguments.get("compute_metrics")
        if rows is not None and measure is not None:
            arguments["compute_metrics"] = replace(measure, rows=rows)
        collate = arguments["data_collator"]
        super().__init__(training_collator=replace(collate, label_all=label_all), **arguments)

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        return SequentialSampler(eval_dataset)
