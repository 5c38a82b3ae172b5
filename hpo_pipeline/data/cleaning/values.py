"""From the values of a file to rows: which of them count, and what becomes of the others."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hpo_pipeline.data.cleaning.columns import Chosen
from hpo_pipeline.data.cleaning.inputs import READ, joined
from hpo_pipeline.data.cleaning.labels import Labels, labels_of
from hpo_pipeline.data.cleaning.tally import Tally
from hpo_pipeline.data.cleaning.text_repair import shown_value, without_surrogates
from hpo_pipeline.data.progress import Progress
from hpo_pipeline.data.readers.source_file import BadRows, Chunk, RawFile
from hpo_pipeline.data.row_table import RowStore
from hpo_pipeline.errors import DataError
from hpo_pipeline.tasks.kind import Form


@dataclass(frozen=True)
class Rules:
    """How rows are read: their form, the columns, and what is left out.

    Attributes:
        separator: between several classes in one text.
        bad_rows: where rows of another form are counted.
    """

    form: Form
    separator: str | None
    bad_rows: BadRows
    progress: Progress


def clean_rows(
    raw: RawFile, chosen: Chosen, rules: Rules, name: str, store: RowStore
) -> tuple[Tally, Mapping[str, set[str]]]:
    """Store the rows that have an input and a label, and count those that have not.

    Returns:
        the counts, and how the file writes each class.

    Raises:
        DataError: a value is of another form, with its row.
    """
    bad_before = rules.bad_rows.count
    cleaner = _Cleaner(raw, chosen, rules, name)
    for chunk in raw.chunks:
        columns = cleaner.cleaned(chunk)
        store.append(columns, cleaner.characters)
        rules.progress.add(len(chunk.numbers))
    unreadable = rules.bad_rows.count - bad_before
    tally = Tally(
        # Those that the reader refused were not handed out.
        read=cleaner.read + unreadable - cleaner.refused,
        without_input=cleaner.without_input,
        without_label=cleaner.without_label,
        unreadable=unreadable,
        repaired=cleaner.repaired,
    )
    return tally, cleaner.labels.spellings if cleaner.labels else {}


class _Cleaner:
    """Reads chunk after chunk, and counts."""

    def __init__(self, raw: RawFile, chosen: Chosen, rules: Rules, name: str) -> None:
        self._raw, self._chosen, self._rules, self._name = raw, chosen, rules, name
        form = rules.form
        self.labels: Labels | None = None
        if form.label is not None:
            names = raw.names.get(chosen.labels[0]) if len(chosen.labels) == 1 else None
            self.labels = labels_of(form.label, names, rules.separator, chosen.labels)
        self._input = READ[form.input]
        self._is_tagged = form.input == "words" and form.label == "tags"
        self._order = _Order()
        self.read = self.without_input = self.without_label = self.repaired = 0
        self.refused = 0
        self.characters = 0

    def cleaned(self, chunk: Chunk) -> dict[str, list[Any]]:
        """Return the columns of the rows of a chunk that count."""
        columns: dict[str, list[Any]] = {"input": []}
        if self.labels is not None:
            columns["label"] = []
        columns |= {key: [] for key in ("group", "order") if getattr(self._chosen, key)}
        self.characters = 0
        append = [values.append for values in columns.values()]
        for i, row in enumerate(zip(*self._values(chunk), strict=True)):
            self.read += 1
            found = self._row(row, chunk.numbers[i])
            if found is not None:
                for add, value in zip(append, found, strict=True):
                    add(value)
        return columns

    def _values(self, chunk: Chunk) -> Iterator[Sequence[Any]]:
        """Yield the values of input, label, group and order, where they are read."""
        by_name = dict(zip(self._raw.wanted, chunk.columns, strict=True))
        yield joined([by_name[name] for name in self._chosen.inputs])
        if self._chosen.labels:
            yield joined([by_name[name] for name in self._chosen.labels])
        yield from (by_name[n] for n in (self._chosen.group, self._chosen.order) if n is not None)

    def _row(self, row: Sequence[Any], number: int) -> list[Any] | None:
        try:
            cleaned = self._input(row[0])
        except ValueError as error:
            column = " and ".join(map(repr, self._chosen.inputs))
            self._refuse("input", number, f"column {column} holds {error}")
            return None
        if cleaned is None:
            self.without_input += 1
            return None
        found = [cleaned]
        self.characters += len(cleaned)
        self.repaired += cleaned is not row[0] and isinstance(cleaned, str) and cleaned != row[0]
        if self.labels is not None:
            try:
                label = self.labels.read(row[1])
            except ValueError as error:
                self._refuse("label", number, str(error))
                return None
            if label is None:
                self.without_label += 1
                return None
            if self._is_tagged and len(label) != len(cleaned):
                self._refuse("label", number, f"{len(cleaned)} words, {len(label)} tags")
                return None
            found.append(label)
        return self._with_keys(found, row[len(found) :], number)

    def _with_keys(self, found: list[Any], keys: Sequence[Any], number: int) -> list[Any] | None:
        """Add what the row is split by."""
        if not keys:
            return found
        if self._chosen.group is not None:
            group = keys[0]
            found.append(None if group is None else without_surrogates(str(group).strip()))
            return found
        try:
            found.append(self._order.value(keys[0]))
        except ValueError as error:
            self._refuse("order", number, f"column {self._chosen.order!r} holds {error}")
            return None
        return found

    def _refuse(self, key: str, number: int, reason: str) -> None:
        place = f"{self._name}, {self._raw.unit} {number:,}"
        self.refused += 1
        try:
            self._rules.bad_rows.add(f"{place}: {reason}")
        except ValueError as error:
            raise DataError(f"task.columns.{key}: {error}") from error


class _Order:
    """Reads dates and numbers; a column holds one of the two."""

    def __init__(self) -> None:
        self._kind = ""

    def value(self, value: Any) -> float:
        """Return what the rows are ordered by: a number, or seconds since 1970."""
        kind, found = _number_or_date(value)
        if self._kind and kind != self._kind:
            raise ValueError(f"{shown_value(value)}, a {kind}, and a {self._kind} before it")
        self._kind = kind
        return found


def _number_or_date(value: Any) -> tuple[str, float]:
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        number = float(value)
        if number - number == 0:  # neither NaN nor infinite
            return "number", number
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        value = dt.datetime(value.year, value.month, value.day)
    if isinstance(value, dt.datetime):
        return "date", _seconds(value)
    for read in _READ_TEXT if isinstance(value, str) else ():
        try:
            return read(value.strip())
        except ValueError:
            continue
    raise ValueError(
        f"{shown_value(value)}, which is neither a number nor a date such as 2024-05-31 or "
        f"2024-05-31T08:30:00"
    )


def _text_number(text: str) -> tuple[str, float]:
    number = float(text)
    if number - number != 0:
        raise ValueError
    return "number", number


def _text_date(text: str) -> tuple[str, float]:
    is_month = len(text) == 7 and text[4:5] == "-"
    return "date", _seconds(dt.datetime.fromisoformat(f"{text}-01" if is_month else text))


_READ_TEXT: tuple[Callable[[str], tuple[str, float]], ...] = (_text_number, _text_date)


def _seconds(moment: dt.datetime) -> float:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return aware.timestamp()
