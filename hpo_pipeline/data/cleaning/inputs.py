"""The inputs of rows, by the form that a kind of task reads: checked, repaired, or missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hpo_pipeline.data.cleaning.text_repair import shown_value, without_surrogates

Read = Callable[[Any], Any]
"""Turns the value of a column into an input, or None where there is none.

Raises:
    ValueError: it is of another form; the message follows "column 'x' holds".
"""


def read_text(value: Any) -> str | None:
    """Return a text; None where it is missing or blank."""
    if isinstance(value, str):
        text = without_surrogates(value)
        return text if text and not text.isspace() else None
    if _is_missing(value):
        return None
    raise ValueError(f"{shown_value(value)}, which is not text")


def read_pair(value: Any) -> list[str] | None:
    """Return two texts; None where one of them is missing."""
    if _is_missing(value):
        return None
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError(f"{shown_value(value)}, which is not a list of two texts")
    first, second = read_text(value[0]), read_text(value[1])
    return None if first is None or second is None else [first, second]


def read_words(value: Any) -> list[str] | None:
    """Return a list of words; None where there are none."""
    if _is_missing(value):
        return None
    if not isinstance(value, list | tuple):
        raise ValueError(f"{shown_value(value)}, which is not a list of words")
    words = [read_text(word) for word in value]
    if any(word is None for word in words):
        raise ValueError("a word that is blank")
    return [word for word in words if word is not None] or None


def read_messages(value: Any) -> list[dict[str, str]] | None:
    """Return a list of messages with a role and a content; None where there are none."""
    if _is_missing(value):
        return None
    if not isinstance(value, list | tuple):
        raise ValueError(f"{shown_value(value)}, which is not a list of messages")
    return [_message(message) for message in value] or None


def _message(message: Any) -> dict[str, str]:
    """Return a message; the names of ShareGPT (`from`, `value`) count as well."""
    if isinstance(message, Mapping):
        role = message.get("role", message.get("from"))
        content = message.get("content", message.get("value"))
        if isinstance(role, str) and isinstance(content, str):
            role = {"human": "user", "gpt": "assistant"}.get(role, role)
            return {"role": without_surrogates(role), "content": without_surrogates(content)}
    raise ValueError(f"{shown_value(message)}, which is not a message with role and content")


def read_image(value: Any) -> bytes | None:
    """Return the bytes of an image, which `datasets` keeps in a mapping."""
    if isinstance(value, Mapping):
        value = value.get("bytes")
    if value is None:
        return None
    if not isinstance(value, bytes):
        raise ValueError(f"{shown_value(value)}, which is not an image")
    return value


READ: dict[str, Read] = {
    "text": read_text,
    "pair": read_pair,
    "words": read_words,
    "messages": read_messages,
    "image": read_image,
}


def joined(columns: Sequence[Sequence[Any]]) -> Sequence[Any]:
    """Return the values of one column, or the rows of several as lists."""
    return columns[0] if len(columns) == 1 else [list(row) for row in zip(*columns, strict=True)]


def _is_missing(value: Any) -> bool:
    return value is None or value != value  # NaN is how some writers mark nothing
