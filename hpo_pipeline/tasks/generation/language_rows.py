"""Encoded rows of a language model: the tokens of a whole text, and which of them are learnt.

A row has `input_ids`; `learnt`, the first and last + 1 of each stretch that is learnt; `bytes` of
the text that is learnt; and `unknown`, those of them that the tokenizer has no token for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hpo_pipeline.tasks.kind import Row

COLUMNS = ("input_ids", "learnt", "bytes", "unknown")


def encoded_texts(texts: Sequence[str], tokenizer: Any, *, bare: bool) -> list[Row]:
    """Return a row for each text, all of which is learnt.

    Args:
        bare: whether to leave out the tokens for the beginning and the end of a text.
    """
    rows = []
    start, end = ends(tokenizer)
    for text, (ids, unknown) in zip(texts, _tokens(texts, tokenizer), strict=True):
        whole = ids if bare else [start, *ids, *([] if end is None else [end])]
        learnt = [0 if bare else 1, len(whole)]
        size = len(text.encode())
        rows.append({"input_ids": whole, "learnt": learnt, "bytes": size, "unknown": unknown})
    return rows


def encoded_completions(
    prompts: Sequence[str], completions: Sequence[str], tokenizer: Any
) -> list[Row]:
    """Return a row for each prompt with its completion, which alone is learnt, with its end."""
    rows = []
    start, end = ends(tokenizer)
    closing = [] if end is None else [end]
    asked = _tokens(prompts, tokenizer)
    said = _tokens(completions, tokenizer)
    for text, (prompt, _), (completion, unknown) in zip(completions, asked, said, strict=True):
        ids = [start, *prompt, *completion, *closing]
        learnt = [1 + len(prompt), len(ids)]
        size = len(text.encode())
        rows.append({"input_ids": ids, "learnt": learnt, "bytes": size, "unknown": unknown})
    return rows


def ends(tokenizer: Any) -> tuple[int, int | None]:
    """Return the tokens that a text begins and ends with; the first has to be predicted too.

    A tokenizer without a token for the beginning takes that for the end, as GPT-2 does.
    """
    starts = (tokenizer.bos_token_id, tokenizer.cls_token_id, tokenizer.eos_token_id)
    start = next((i for i in starts if i is not None), tokenizer.pad_token_id)
    end = tokenizer.eos_token_id
    return start, tokenizer.sep_token_id if end is None else end


def window_ends(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Return the special tokens that the tokenizer puts before and after a text."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    place = next((i for i in range(len(whole)) if whole[i : i + len(bare)] == bare), 0)
    return whole[:place], whole[place + len(bare) :]


def _tokens(texts: Sequence[str], tokenizer: Any) -> list[tuple[list[int], int]]:
    """Return the ids of each text without special tokens, and the bytes of unknown words.

    A text that holds the name of a special token, such as </s>, holds a text, not that token.
    """
    unknown = tokenizer.unk_token_id
    maps = tokenizer.is_fast and unknown is not None
    encoded = tokenizer(
        list(texts),
        add_special_tokens=False,
        split_special_tokens=True,
        return_attention_mask=False,
        return_offsets_mapping=maps,
        verbose=False,
    )
    offsets = encoded["offset_mapping"] if maps else [[]] * len(texts)
    return [
        (ids, _unknown_bytes(text, ids, places, unknown) if maps else 0)
        for text, ids, places in zip(texts, encoded["input_ids"], offsets, strict=True)
    ]


def _unknown_bytes(
    text: str, ids: Sequence[int], places: Sequence[tuple[int, int]], unknown: int
) -> int:
    if unknown not in ids:
        return 0
    spans = (place for number, place in zip(ids, places, strict=True) if number == unknown)
    return sum(len(text[start:end].encode()) for start, end in spans)
