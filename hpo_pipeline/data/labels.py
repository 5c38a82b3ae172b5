"""The one rule for labels, whatever the format of the file they come from.

A label is text or a number, one a row. Blanks around it do not count, `1.0` is `1`, truth values
are `true` and `false`, and an empty label is none. What is written differently and means the same
is merged and said; what is not a class (a score, an id) is refused.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from hpo_pipeline.data.readers.raw_table import RawTable
from hpo_pipeline.errors import DataError

SHOWN = 5
"""Labels that a message lists before it only counts them."""
MANY_SCORES = 20
MANY_LABELS = 50

_DECIMAL = re.compile(r"[+-]?[0-9]+\.[0-9]+")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?", re.IGNORECASE)
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Labels:
    """The labels of a file.

    Attributes:
        texts: one a row; None where there is none.
        spellings: for each label, how the file writes it.
    """

    texts: list[str | None]
    spellings: Mapping[str, set[str]] = field(default_factory=dict)


def read_labels(raw: RawTable, name: str) -> Labels:
    """Return the labels of a file as text.

    Args:
        name: the file, for messages.

    Raises:
        DataError: a label is neither text nor a number; the message names the row.
    """
    texts: list[str | None] = []
    spellings: dict[str, set[str]] = defaultdict(set)
    known: dict[tuple[type, object], str | None] = {}
    for i, value in enumerate(raw.labels):
        if isinstance(value, list | tuple | dict | bytes):
            raise DataError(_not_a_label(value, f"{name}, {raw.place(i)}"))
        key = (type(value), value)
        if key not in known:
            text = _named(value, raw, f"{name}, {raw.place(i)}")
            known[key] = text
            if text is not None:
                spellings[text].add(str(value) if raw.label_names is None else text)
        texts.append(known[key])
    return Labels(texts, spellings)


def label_text(value: object) -> str | None:
    """Return a label as text, or None where there is none."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return str(int(value)) if value.is_integer() else repr(value)
    text = str(value) if not isinstance(value, Decimal) else f"{value:f}"
    text = unicodedata.normalize("NFC", without_surrogates(text).strip())
    if _DECIMAL.fullmatch(text):
        text = text.rstrip("0").rstrip(".")
    return text.lower() if text.lower() in ("true", "false") else text or None


def without_surrogates(text: str) -> str:
    """Replace halves of a character beyond U+FFFF, which no encoding can write."""
    return _SURROGATE.sub("\ufffd", text)


def merged(spellings: Iterable[Mapping[str, set[str]]]) -> tuple[str, ...]:
    """Return sentences on labels that files write in several ways, and on those that look alike."""
    ways: dict[str, set[str]] = defaultdict(set)
    for found in spellings:
        for label, texts in found.items():
            ways[label] |= texts
    notes = []
    several = [sorted(texts) for texts in ways.values() if len(texts) > 1]
    if several:
        shown = "; ".join(" and ".join(map(repr, texts[:SHOWN])) for texts in several[:SHOWN])
        notes.append(f"Labels that are written differently count as one: {shown}.")
    folded = Counter(label.casefold() for label in ways)
    alike = [label for label in ways if folded[label.casefold()] > 1]
    if alike:
        notes.append(f"Labels that differ in case only are different labels: {listed(alike)}.")
    return tuple(notes)


def check_classes(labels: Sequence[str], column: str) -> None:
    """Refuse labels that are not classes: scores, or a text of its own for most rows.

    Raises:
        DataError: they are; the message says what was seen in a few words.
    """
    different = Counter(labels)
    fractions = [name for name in different if _NUMBER.fullmatch(name) and "." in name]
    are_numbers = all(_NUMBER.fullmatch(name) for name in different)
    if fractions and are_numbers and len(different) > min(MANY_SCORES, len(labels) // 2):
        raise DataError(
            f"task.columns.label: column {column!r} holds scores, not classes: {len(different):,} "
            f"different numbers, such as {listed(fractions)}; classification needs classes: put "
            f"the scores into groups, such as low, middle and high"
        )
    if len(different) > max(MANY_LABELS, len(labels) // 2):
        raise DataError(
            f"task.columns.label: column {column!r} has {len(different):,} different labels in "
            f"{len(labels):,} rows, such as {listed(different)}, so it looks like an id or a free "
            f"text; name the column of the classes"
        )


def listed(names: Iterable[str]) -> str:
    """Return names in quotes, the first few of many."""
    shown = list(names)
    text = ", ".join(repr(name) for name in shown[:SHOWN])
    return text if len(shown) <= SHOWN else f"{text} and {len(shown) - SHOWN:,} more"


def _named(value: object, raw: RawTable, place: str) -> str | None:
    """Return the text of a label; a class number gives its name where the file has names."""
    if raw.label_names is None or not isinstance(value, int | float) or isinstance(value, bool):
        return label_text(value)
    if isinstance(value, float) and not value.is_integer():
        return label_text(value)
    number = int(value)
    if number < 0:
        return None  # as `datasets` marks a row without a label
    if number >= len(raw.label_names):
        raise DataError(
            f"task.columns.label: {place}: class {number} has no name; the file names "
            f"{len(raw.label_names)}: {listed(raw.label_names)}"
        )
    return label_text(raw.label_names[number])


def _not_a_label(value: object, place: str) -> str:
    shown = without_surrogates(repr(value))
    shown = shown if len(shown) <= 60 else shown[:59] + "…"
    kind, advice = "an object", "a label is text or a number"
    if isinstance(value, list | tuple):
        kind, advice = "a list", "one label a row is needed"
    elif isinstance(value, bytes):
        kind = "bytes"
    return f"task.columns.label: {place}: the label is {kind} ({shown}); {advice}"
