"""From a raw table to rows of input and label: which columns, and which rows count."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import pandas as pd

from hpo_pipeline.data.labels import Labels, listed, read_labels, without_surrogates
from hpo_pipeline.data.readers.raw_table import Pick, RawTable
from hpo_pipeline.data.tally import Tally
from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.task import Columns

INPUT_NAMES = ("text", "sentence", "input", "image", "pixels")
PAIR_NAMES = (
    *("question", "question1", "question2", "sentence1", "sentence2", "premise", "hypothesis"),
    *("text1", "text2", "text_a", "text_b", "sentence_a", "sentence_b", "context", "passage"),
)
"""Columns that make a pair with another; half of a pair is not a substitute for it."""


def picker(columns: Columns, source: str) -> Pick:
    """Return the function that finds the columns of input and label among those of a file.

    Args:
        source: the file, for the messages of the function's DataError.
    """

    def pick(names: Sequence[str]) -> tuple[str, str]:
        wanted = _default_input(names, source) if columns.input is None else columns.input
        found = _find(names, wanted, "input", source)
        label = _find(names, columns.label, "label", source)
        if found == label:
            raise DataError(
                f"task.columns: {source}: {found!r} is both the input and the label; name the "
                f"column of the texts in task.columns.input"
            )
        return found, label

    return pick


def clean_rows(raw: RawTable, columns: Columns, name: str) -> tuple[pd.DataFrame, Tally, Labels]:
    """Return the rows that have an input and a label, and how many have not.

    Raises:
        DataError: an input is not text, or a label neither text nor a number, with the row.
    """
    wanted, _ = picker(columns, name)(raw.columns)
    labels = read_labels(raw, name)
    inputs, kept = [], []
    without_input = without_label = replaced = 0
    for i, (value, label) in enumerate(zip(raw.inputs, labels.texts, strict=True)):
        if value is None or value != value:  # NaN is how some writers mark nothing
            without_input += 1
            continue
        if not isinstance(value, str):
            raise DataError(
                f"task.columns.input: {name}, {raw.place(i)}: column {wanted!r} holds "
                f"{_short(value)}, which is not text"
            )
        text = without_surrogates(value)
        replaced += text != value
        if not text.strip():
            without_input += 1
        elif label is None:
            without_label += 1
        else:
            inputs.append(text)
            kept.append(label)
    tally = Tally(
        read=len(raw.inputs),
        without_input=without_input,
        without_label=without_label,
        repaired=replaced,
    )
    return pd.DataFrame({"input": inputs, "label": kept}, dtype=object), tally, labels


def unused_columns(raw: RawTable, columns: Columns, name: str) -> list[str]:
    """Return the names of the columns that nothing is read from."""
    used = picker(columns, name)(raw.columns)
    return [shown_name(column) for column in raw.columns if column not in used]


def shown_name(name: str) -> str:
    """Return a column's name for a message: quoted where a blank or an odd character is in it."""
    text = without_surrogates(str(name))
    text = text if len(text) <= 40 else text[:39] + "…"
    return text if text == text.strip() and text.isprintable() and text else repr(text)


def _default_input(names: Sequence[str], source: str) -> str:
    stripped = [str(name).strip() for name in names]
    usual = [name for name in INPUT_NAMES if name in stripped]
    pairs = [name for name in stripped if name.lower() in PAIR_NAMES]
    if len(usual) > 1 or (usual and pairs):
        raise DataError(
            f"task.columns.input: {source} has several columns of text "
            f"({', '.join([*usual, *pairs])}), and a trial reads one; name it, or join the texts "
            f"in a column of their own"
        )
    return usual[0] if usual else INPUT_NAMES[0]


def _find(names: Sequence[str], wanted: str, key: str, source: str) -> str:
    """Return the name of a column as the file writes it; blanks around it do not count."""
    matching = [name for name in names if name == wanted] or [
        name for name in names if str(name).strip() == wanted.strip()
    ]
    if len(matching) > 1:
        raise DataError(
            f"task.columns.{key}: {source} has {len(matching)} columns named {wanted!r}; rename "
            f"all but one"
        )
    if matching:
        return matching[0]
    close = difflib.get_close_matches(wanted.lower(), [str(n).lower() for n in names], n=1)
    near = next((n for n in names if str(n).lower() in close), None)
    hint = f"; is it {near!r}?" if near is not None else ""
    if len(names) == 1 and (sign := next((s for s in ";\t|" if s in names[0]), "")):
        hint = f"; its cells are separated by {sign!r}: save it with commas, or with tabs as .tsv"
    shown = ", ".join(map(shown_name, names[:20])) + (", …" if len(names) > 20 else "")
    raise DataError(f"task.columns.{key}: {source} has no column {wanted!r}; it has {shown}{hint}")


def _short(value: object) -> str:
    return listed([without_surrogates(str(value))[:40]]) + f" ({type(value).__name__})"
