"""The kinds of task: one entry each in a table from `task.kind` to what is special about it.

Everything that transformers must be told differently for one kind than for another stands in the
kind's own file; the trial, the preparation and the evaluation are the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hpo_pipeline.tasks import image_classification, text_classification

Row = dict[str, Any]
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class TaskKind:
    """What is special about a kind of task.

    Attributes:
        model_class: transformers' auto class.
        pipeline: the name of transformers' pipeline that loads the finished model.
        processor: makes the tokenizer from (task, model folder or id, training inputs), or None.
        encode: turns inputs into rows for the model, given (inputs, processor, max length).
        collator: makes a batch of rows, given (processor, max length, image shape).
        config_fields: fields of the model's config that follow from the data.
    """

    model_class: Any
    pipeline: str
    processor: Callable[..., Any]
    encode: Callable[[Sequence[Any], Any, int], list[Row]]
    collator: Callable[[Any, int, Shape | None], Callable[[list[Row]], dict[str, Any]]]
    config_fields: Callable[[Any, Shape | None], dict[str, Any]]


TASKS: dict[str, TaskKind] = {
    "text-classification": TaskKind(
        model_class=text_classification.MODEL_CLASS,
        pipeline="text-classification",
        processor=text_classification.processor,
        encode=text_classification.encode,
        collator=text_classification.collator,
        config_fields=text_classification.config_fields,
    ),
    "image-classification": TaskKind(
        model_class=image_classification.MODEL_CLASS,
        pipeline="image-classification",
        processor=image_classification.processor,
        encode=image_classification.encode,
        collator=image_classification.collator,
        config_fields=image_classification.config_fields,
    ),
}
