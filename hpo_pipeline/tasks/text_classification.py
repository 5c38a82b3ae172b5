"""Text classification: tokens, padded to the longest row of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hpo_pipeline.tasks.base_tokenizer import base_tokenizer
from hpo_pipeline.tasks.classification import CLASSIFICATION
from hpo_pipeline.tasks.kind import Collate, DataSource, Inputs, Row, Shape, TaskFields, TaskKind

USAGE = """\
from transformers import pipeline

classify = pipeline("text-classification", model="path/to/this/folder")
print(classify("Write a sentence here."))"""


def model_class() -> Any:
    """Return transformers' auto class."""
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification


def read(task: TaskFields, source: DataSource) -> Any:
    """Read a column of text and a column of labels."""
    return source.rows()


def processor(task: TaskFields, source: str, inputs: Sequence[str], shape: Shape | None) -> Any:
    """Return the tokenizer of the model, or one of `task.vocab_size` trained on the inputs.

    Raises:
        DataError: the model has no tokenizer, or one that does not fit it.
    """
    tokenizer = base_tokenizer(task, source)
    if task.vocab_size:
        tokenizer = tokenizer.train_new_from_iterator(inputs, task.vocab_size)
    return tokenizer


def load_processor(folder: Path) -> Any:
    """Return the tokenizer that a folder holds."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(folder))


def identity(tokenizer: Any) -> str:
    """Return a text that changes with the tokenizer."""
    import json

    backend = getattr(tokenizer, "backend_tokenizer", None)
    return backend.to_str() if backend else json.dumps(tokenizer.get_vocab(), sort_keys=True)


def encode(inputs: Sequence[str], tokenizer: Any, max_length: int) -> list[Row]:
    """Return the token ids of each text, cut to `max_length`, without padding.

    A text that holds the name of a special token, such as </s>, holds a text, not that token.
    """
    encoded = tokenizer(
        list(inputs),
        truncation=True,
        max_length=max_length,
        return_attention_mask=False,
        split_special_tokens=True,
    )
    keys = [key for key in ("input_ids", "token_type_ids") if key in encoded]
    return [{key: encoded[key][i] for key in keys} for i in range(len(inputs))]


def length(row: Row) -> int:
    """Return the tokens of a row."""
    return len(row["input_ids"])


def collator(tokenizer: Any, max_length: int, shape: Shape | None) -> Collate:
    """Return the function that cuts and pads rows to a batch of tensors (rows x tokens)."""
    from transformers import DataCollatorWithPadding

    pad = DataCollatorWithPadding(tokenizer)
    special = set(tokenizer.all_special_ids)

    def collate(rows: list[Row]) -> dict[str, Any]:
        batch: dict[str, Any] = pad([_cut(row, max_length, special) for row in rows])
        return batch

    return collate


def config_fields(tokenizer: Any, shape: Shape | None) -> dict[str, Any]:
    """Return the fields of the model's config that follow from the tokenizer."""
    return {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}


def _cut(row: Row, max_length: int, special: set[int]) -> Row:
    """Cut a row as the tokenizer would have: the closing special token stays."""
    ids = row["input_ids"]
    if len(ids) <= max_length:
        return row
    tail = [ids[-1]] if ids[-1] in special else []
    keep = max_length - len(tail)
    cut = {k: v[:max_length] for k, v in row.items() if isinstance(v, list)}
    return {**row, **cut, "input_ids": [*ids[:keep], *tail]}


KIND = TaskKind(
    pipeline="text-classification",
    usage=USAGE,
    searchable=("freeze", "max_length"),
    model_class=model_class,
    inputs=Inputs(
        read=read,
        processor=processor,
        load_processor=load_processor,
        identity=identity,
        encode=encode,
        length=length,
        collator=collator,
        config_fields=config_fields,
    ),
    targets=CLASSIFICATION,
    shared=("vocab_size", "pad_token_id"),
)
