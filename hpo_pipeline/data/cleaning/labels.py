"""The one rule for labels, whatever the format of the file they come from.

A class is text or a number. Blanks around it do not count, `1.0` is `1`, truth values are `true`
and `false`, and an empty label is none. What is written differently and means the same is merged
and said; what is not a class (a score, an id) is refused.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

from hpo_pipeline.data.cleaning.inputs import read_text
from hpo_pipeline.data.cleaning.text_repair import shown_value, without_surrogates
from hpo_pipeline.errors import DataError
from hpo_pipeline.tasks.kind import LabelForm

SHOWN = 5
"""Labels that a message lists before it only counts them."""
MANY_SCORES = 20
MANY_LABELS = 50
REMEMBERED = 100_000
"""Different labels whose reading is remembered; a column with more holds no classes."""

_DECIMAL = re.compile(r"[+-]?[0-9]+\.[0-9]+")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?", re.IGNORECASE)


class Labels(Protocol):
    """How the labels of a form are read."""

    spellings: dict[str, set[str]]
    """For each class, how the files write it."""

    def read(self, value: Any) -> Any:
        """Return the label of a row, or None where there is none.

        Raises:
            ValueError: it is of another form.
        """


class Classes:
    """A class for each row: text; whole numbers give their names where the file has names."""

    def __init__(self, names: Sequence[str] | None) -> None:
        self._names = names
        self._known: dict[tuple[type, object], str | None] = {}
        self.spellings: dict[str, set[str]] = defaultdict(set)

    def read(self, value: Any) -> str | None:
        """Return a class as text."""
        if isinstance(value, list | tuple | dict | bytes):
            raise ValueError(_not_a_label(value))
        key = (type(value), value)
        if key in self._known:
            return self._known[key]
        text = self._named(value)
        if len(self._known) < REMEMBERED:
            self._known[key] = text
            if text is not None:
                self.spellings[text].add(str(value) if self._names is None else text)
        return text

    def _named(self, value: Any) -> str | None:
        names = self._names
        if names is None or not isinstance(value, int | float) or isinstance(value, bool):
            return label_text(value)
        if isinstance(value, float) and not value.is_integer():
            return label_text(value)
        number = int(value)
        if number < 0:
            return None  # as `datasets` marks a row without a label
        if number >= len(names):
            raise ValueError(
                f"class {number} has no name; the file names {len(names)}: {listed(names)}"
            )
        return label_text(names[number])


class SeveralClasses:
    """A list of classes for each row, or one column of 0 and 1 for each class."""

    def __init__(
        self, names: Sequence[str] | None, separator: str | None, columns: Sequence[str]
    ) -> None:
        self._one = Classes(names)
        self._separator = separator
        self._columns = columns
        self.spellings = self._one.spellings

    def read(self, value: Any) -> list[str] | None:
        """Return the classes of a row, each once; an empty list is a row with none of them."""
        if len(self._columns) > 1:
            return [name for name, cell in zip(self._columns, value, strict=True) if _flag(cell)]
        if isinstance(value, str) and self._separator is not None:
            value = value.split(self._separator) if value.strip() else None
        if value is None or value != value:
            return None
        several = value if isinstance(value, list | tuple) else [value]
        found = [self._one.read(label) for label in several]
        return list(dict.fromkeys(label for label in found if label is not None))


class Tags:
    """A tag for each word: text, or whole numbers with names."""

    def __init__(self, names: Sequence[str] | None) -> None:
        self._one = Classes(names)
        self.spellings = self._one.spellings

    def read(self, value: Any) -> list[str] | None:
        """Return the tags of a row."""
        if value is None:
            return None
        if not isinstance(value, list | tuple):
            raise ValueError(f"the label is {shown_value(value)}; a list of tags is needed")
        found = [self._one.read(tag) for tag in value]
        tags = [tag for tag in found if tag is not None]
        if len(tags) < len(found):
            raise ValueError("a tag is missing; every word needs one")
        return tags


class Numbers:
    """A number for each row."""

    def __init__(self) -> None:
        self.spellings: dict[str, set[str]] = {}

    def read(self, value: Any) -> float | None:
        """Return a number."""
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        try:
            if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
                raise ValueError
            number = float(value)
        except ValueError as error:
            raise ValueError(
                f"the label is {shown_value(value)}; a number is needed, as all rows have them"
            ) from error
        if math.isinf(number):
            raise ValueError("the label is infinite; a finite number is needed")
        return None if math.isnan(number) else number


class Texts:
    """A text for each row."""

    def __init__(self) -> None:
        self.spellings: dict[str, set[str]] = {}

    def read(self, value: Any) -> str | None:
        """Return a text."""
        try:
            return read_text(value)
        except ValueError as error:
            raise ValueError(f"the label is {error}") from error


def labels_of(
    form: LabelForm, names: Sequence[str] | None, separator: str | None, columns: Sequence[str]
) -> Labels:
    """Return what reads the labels of a file.

    Args:
        names: behind the whole numbers of the file, where it has them.
        separator: between several classes in one text.
        columns: of the labels; several where each class has one of its own.
    """
    match form:
        case "class":
            return Classes(names)
        case "classes":
            return SeveralClasses(names, separator, columns)
        case "tags":
            return Tags(names)
        case "number":
            return Numbers()
    return Texts()


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


def check_classes(different: Sequence[str], rows: int, column: str) -> None:
    """Refuse labels that are not classes: scores, or a text of its own for most rows.

    Args:
        different: each label once.

    Raises:
        DataError: they are; the message says what was seen in a few words.
    """
    fractions = [name for name in different if _NUMBER.fullmatch(name) and "." in name]
    are_numbers = all(_NUMBER.fullmatch(name) for name in different)
    if fractions and are_numbers and len(different) > min(MANY_SCORES, rows // 2):
        raise DataError(
            f"task.columns.label: column {column!r} holds scores, not classes: {len(different):,} "
            f"different numbers, such as {listed(fractions)}; classification needs classes: put "
            f"the scores into groups, such as low, middle and high, or let text-classification "
            f"learn them as numbers with problem: regression"
        )
    if len(different) > max(MANY_LABELS, rows // 2):
        raise DataError(
            f"task.columns.label: column {column!r} has {len(different):,} different labels in "
            f"{rows:,} rows, such as {listed(different)}, so it looks like an id or a free "
            f"text; name the column of the classes"
        )


def listed(names: Iterable[str]) -> str:
    """Return names in quotes, the first few of many."""
    shown = list(names)
    text = ", ".join(repr(name) for name in shown[:SHOWN])
    return text if len(shown) <= SHOWN else f"{text} and {len(shown) - SHOWN:,} more"


def _flag(cell: Any) -> bool:
    text = label_text(cell)
    if text not in ("0", "1", "true", "false", None):
        raise ValueError(f"a column of a label holds {shown_value(cell)}; 0 or 1 is needed")
    return text in ("1", "true")


def _not_a_label(value: object) -> str:
    shown = without_surrogates(repr(value))
    shown = shown if len(shown) <= 60 else shown[:59] + "…"
    kind, advice = "an object", "a label is text or a number"
    if isinstance(value, list | tuple):
        kind, advice = (
            "a list",
            (
                "one label a row is needed; text-classification learns several with problem: "
                "multi_label"
            ),
        )
    elif isinstance(value, bytes):
        kind = "bytes"
    return f"the label is {kind} ({shown}); {advice}"
