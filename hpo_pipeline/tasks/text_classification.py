"""Text classification: tokens padded to the longest of a batch, never to the longest of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding

from hpo_pipeline.errors import DataError
from hpo_pipeline.tasks.kind import TaskFields

MODEL_CLASS = AutoModelForSequenceClassification


def processor(task: TaskFields, source: str, inputs: Sequence[str]) -> Any:
    """Return the tokenizer of the model, or one of `task.vocab_size` trained on the inputs.

    Raises:
        DataError: the model folder or id has no tokenizer.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            source, use_fast=True, trust_remote_code=task.trust_remote_code
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        first = (str(error).splitlines() or [""])[0]
        raise DataError(f"task.model: {source!r} gives no tokenizer: {first}") from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if task.vocab_size:
        tokenizer = tokenizer.train_new_from_iterator(inputs, task.vocab_size)
    return tokenizer


def encode(inputs: Sequence[str], tokenizer: Any, max_length: int) -> list[dict[str, Any]]:
    """Return the token ids of each text, cut to `max_length`, without padding."""
    encoded = tokenizer(
        list(inputs), truncation=True, max_length=max_length, return_attention_mask=False
    )
    keys = [key for key in ("input_ids", "token_type_ids") if key in encoded]
    return [{key: encoded[key][i] for key in keys} for i in range(len(inputs))]


def collator(
    tokenizer: Any, max_length: int, shape: object
) -> Callable[[list[dict[str, Any]]], dict[str, Any]]:
    """Return the function that cuts and pads rows to a batch of tensors (rows x tokens)."""
    pad = DataCollatorWithPadding(tokenizer)
    special = set(tokenizer.all_special_ids)

    def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = pad([_cut(row, max_length, special) for row in rows])
        return batch

    return collate


def config_fields(tokenizer: Any, shape: object) -> dict[str, Any]:
    """Return the config fields that follow from the tokenizer."""
    return {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}


def _cut(row: dict[str, Any], max_length: int, special: set[int]) -> dict[str, Any]:
    """Cut a row as the tokenizer would have: the closing special token stays."""
    ids = row["input_ids"]
    if len(ids) <= max_length:
        return row
    tail = [ids[-1]] if ids[-1] in special else []
    keep = max_length - len(tail)
    cut = {k: v[:max_length] for k, v in row.items() if isinstance(v, list)}
    return {**row, **cut, "input_ids": [*ids[:keep], *tail]}
