"""Inputs that are text: a tokenizer, rows of tokens, and batches padded to their longest row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from hpo_pipeline.tasks.inputs.base_tokenizer import base_tokenizer
from hpo_pipeline.tasks.inputs.token_cutting import SPECIAL
from hpo_pipeline.tasks.inputs.trained_tokenizer import trained_again, trained_tokenizer
from hpo_pipeline.tasks.kind import Collate, Row, Shape, TaskKind
from hpo_pipeline.tasks.task_fields import TaskFields


class TextKind(TaskKind):
    """What the kinds of task over text have in common."""

    searchable: ClassVar[tuple[str, ...]] = ("freeze", "max_length", "vocab_size", "tokenizer")
    shared: ClassVar[tuple[str, ...]] = ("vocab_size", "pad_token_id")

    def processor(
        self, task: TaskFields, source: str, inputs: Sequence[Any], shape: Shape | None
    ) -> Any:
        """Return the tokenizer of the model, or one of `task.vocab_size` trained on the inputs.

        Raises:
            DataError: the model has no tokenizer, or one that does not fit it.
        """
        if task.tokenizer and task.vocab_size:
            return trained_tokenizer(task.tokenizer, inputs, task.vocab_size)
        tokenizer = base_tokenizer(task, source)
        if task.vocab_size:
            tokenizer = trained_again(tokenizer, inputs, task.vocab_size)
        return tokenizer

    def processor_notes(self, task: TaskFields, processor: Any) -> tuple[str, ...]:
        """Say where a trained tokenizer found fewer tokens than it was allowed."""
        if not task.vocab_size or len(processor) >= task.vocab_size:
            return ()
        return (
            f"The tokenizer got only {len(processor):,} of {task.vocab_size:,} tokens "
            f"(task.vocab_size): the training rows have no more that occur often enough.",
        )

    def load_processor(self, folder: Path) -> Any:
        """Return the tokenizer that a folder holds."""
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(str(folder))

    def identity(self, processor: Any) -> str:
        """Return a text that changes with the tokenizer."""
        import json

        backend = getattr(processor, "backend_tokenizer", None)
        return backend.to_str() if backend else json.dumps(processor.get_vocab(), sort_keys=True)

    def length(self, row: Row) -> int:
        """Return the tokens of a row."""
        return len(row["input_ids"])

    def padded_lengths(self, task: TaskFields, rows: Any) -> Sequence[int] | None:
        """Return the tokens of each row, as far as they are not cut off."""
        return [min(n, task.max_length) for n in list_lengths(rows, "input_ids")]

    def collator(self, task: TaskFields, processor: Any, shape: Shape | None) -> Collate:
        """Return the function that cuts and pads rows to a batch of tensors (rows x tokens)."""
        from transformers import DataCollatorWithPadding

        pad = DataCollatorWithPadding(processor)
        special = set(processor.all_special_ids)

        def collate(rows: list[Row]) -> dict[str, Any]:
            batch: dict[str, Any] = pad([cut(row, task.max_length, special) for row in rows])
            return batch

        return collate

    def config_fields(
        self, task: TaskFields, processor: Any, shape: Shape | None
    ) -> dict[str, Any]:
        """Return the fields of the model's config that follow from the tokenizer."""
        return {"vocab_size": len(processor), "pad_token_id": processor.pad_token_id}


def tokenized(texts: Sequence[str], tokenizer: Any, max_length: int) -> dict[str, list[Any]]:
    """Return the token ids of each text, cut to `max_length`, without padding.

    A text that holds the name of a special token, such as </s>, holds a text, not that token.
    """
    encoded = tokenizer(
        list(texts),
        truncation=True,
        max_length=max_length,
        return_attention_mask=False,
        split_special_tokens=True,
    )
    return {key: encoded[key] for key in ("input_ids", "token_type_ids") if key in encoded}


def tokenized_pairs(
    pairs: Sequence[Sequence[str]], tokenizer: Any, max_length: int
) -> dict[str, list[Any]]:
    """Return the token ids of pairs of texts, of which the longer loses what is too much.

    `parts` are 0 for tokens of the first text, 1 for those of the second, else -1.
    """
    encoded = tokenizer(
        [first for first, _ in pairs],
        [second for _, second in pairs],
        truncation="longest_first",
        max_length=max_length,
        return_attention_mask=False,
        split_special_tokens=True,
    )
    parts = [
        [SPECIAL if part is None else part for part in encoded.sequence_ids(i)]
        for i in range(len(pairs))
    ]
    columns = {key: encoded[key] for key in ("input_ids", "token_type_ids") if key in encoded}
    return {**columns, "parts": parts}


def list_lengths(rows: Any, name: str) -> Sequence[int]:
    """Return how long the lists of one column of rows are, without making them of a table."""
    if isinstance(rows, list):
        return [len(row[name]) for row in rows]
    import pyarrow.compute as pc

    table = rows.select_columns([name]).with_format("arrow")[:]
    lengths: list[int] = pc.list_value_length(table[name]).to_pylist()
    return lengths


def cut(row: Row, max_length: int, special: set[int]) -> Row:
    """Cut a row as the tokenizer would have: the closing special token stays."""
    ids = row["input_ids"]
    if len(ids) <= max_length:
        return row
    tail = [ids[-1]] if ids[-1] in special else []
    keep = max_length - len(tail)
    shorter = {k: row[k][:max_length] for k in ("token_type_ids",) if k in row}
    return {**row, **shorter, "input_ids": [*ids[:keep], *tail]}
