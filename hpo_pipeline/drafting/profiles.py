"""What a column holds: texts, words, numbers, dates, lists, chats or images, and how many."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

What = Literal[
    "nothing", "flag", "whole", "number", "date", "word", "text", "list", "messages", "image"
]
"""A `word` is a short text such as a name or a class; a `list` has texts or whole numbers."""
TEXT_WORDS = 2.5
"""Mean words from which a column holds texts."""
FLAGS = {"0", "1", "true", "false"}
MISSING = ("", "na", "n/a", "nan", "null", "none")
_WHOLE = re.compile(r"[+-]?\d{1,15}(\.0+)?")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
_DATE = re.compile(r"\d{4}-\d{1,2}(-\d{1,2})?([T ].*)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}(\s.*)?")


@dataclass(frozen=True)
class Profile:
    """A column of a sample.

    Attributes:
        filled: how many values are there.
        different: how many different ones.
        words: mean number of words of a text, or of entries of a list.
        least: how often the rarest value occurs.
    """

    name: str
    what: What
    filled: int
    different: int
    words: float
    least: int
    values: Sequence[Any]

    @property
    def is_unique(self) -> bool:
        """Whether nearly every row has a value of its own."""
        return self.different > 0.9 * self.filled

    @property
    def is_class_like(self) -> bool:
        """Whether the values name classes: few, and each of them for several rows."""
        if self.what not in ("flag", "whole", "number", "word", "text"):
            return False
        most = 20 if self.what in ("whole", "number") else 50
        return 2 <= self.different <= min(most, self.filled // 2)


def profiles(columns: Mapping[str, Sequence[Any]]) -> list[Profile]:
    """Describe the columns of a sample."""
    return [profile(name, values) for name, values in columns.items()]


def profile(name: str, values: Sequence[Any]) -> Profile:
    """Describe a column."""
    there = [value for value in values if not _is_missing(value)]
    what = _what(there)
    counts = Counter(_key(value) for value in there)
    sizes = [len(value) if isinstance(value, list) else _words(value) for value in there]
    words = sum(sizes) / len(sizes) if sizes else 0.0
    return Profile(
        name, what, len(there), len(counts), words, min(counts.values(), default=0), there
    )


def _is_missing(value: Any) -> bool:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return isinstance(value, str) and value.strip().lower() in MISSING


def _key(value: Any) -> str:
    return str(value).strip() if not isinstance(value, bytes) else str(hash(value))


def _words(value: Any) -> int:
    """Count words; a character of a script without blanks counts as half a word."""
    if not isinstance(value, str):
        return 1
    plain = len(value.split())
    wide = sum("\u3040" <= sign <= "\u9fff" or "\uac00" <= sign <= "\ud7af" for sign in value)
    return max(plain, wide // 2)


def _what(values: Sequence[Any]) -> What:
    if not values:
        return "nothing"
    if all(_is_image(value) for value in values):
        return "image"
    if all(isinstance(value, list) for value in values):
        flat = [entry for value in values for entry in value]
        if flat and all(isinstance(entry, Mapping) for entry in flat):
            return "messages" if all(_is_message(entry) for entry in flat) else "nothing"
        return "list" if all(isinstance(entry, str | int) for entry in flat) else "nothing"
    if any(isinstance(value, list | Mapping | bytes) for value in values):
        return "nothing"
    if all(isinstance(value, date | datetime) for value in values):
        return "date"
    return _of_texts([_written(value) for value in values])


def _of_texts(texts: Sequence[str]) -> What:
    """Say what texts hold, of which a csv file has nothing but."""
    if all(text.lower() in FLAGS for text in texts):
        return "flag"
    if all(_WHOLE.fullmatch(text) for text in texts):
        return "whole"
    if all(_NUMBER.fullmatch(text) for text in texts):
        return "number"
    if all(_DATE.fullmatch(text) for text in texts):
        return "date"
    words = sum(map(_words, texts)) / len(texts)
    return "text" if words >= TEXT_WORDS else "word"


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return (f"{value:f}" if isinstance(value, Decimal) else str(value)).strip()


def _is_message(entry: Mapping[str, Any]) -> bool:
    return {"role", "content"} <= set(entry) or {"from", "value"} <= set(entry)


def _is_image(value: Any) -> bool:
    if isinstance(value, Mapping):
        value = value.get("bytes")
    return isinstance(value, bytes)
