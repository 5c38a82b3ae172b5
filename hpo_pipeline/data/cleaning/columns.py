"""Which columns of a file hold inputs and labels: those that are named, or the usual ones."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from hpo_pipeline.data.cleaning.text_repair import without_surrogates
from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.data_fields import Columns, as_names
from hpo_pipeline.tasks.kind import Form

INPUT_NAMES = ("text", "sentence", "input", "image", "pixels")
PAIRS = (
    *(("premise", "hypothesis"), ("sentence1", "sentence2"), ("question1", "question2")),
    *(("question", "sentence"), ("text1", "text2"), ("text_a", "text_b")),
    *(("sentence_a", "sentence_b"), ("question", "context"), ("query", "passage")),
)
PAIR_NAMES = {name for pair in PAIRS for name in pair} - {*INPUT_NAMES}
"""Columns that make a pair with another; half of a pair is not a substitute for it."""
_PROMPTS = ("prompt", "instruction", "question", "source", "document", "article")
_INPUTS = {
    "pair": ("pair", "texts"),
    "words": ("tokens", "words"),
    "messages": ("messages", "conversations", "conversation", "chat"),
    "image": ("image", "img", "pixels"),
}
_LABELS = {
    "class": ("label",),
    "classes": ("labels", "label"),
    "number": ("label", "score", "target"),
    "tags": ("tags", "ner_tags", "pos_tags", "labels", "label"),
    "text": ("completion", "target", "response", "answer", "output", "summary", "label"),
}


@dataclass(frozen=True)
class Chosen:
    """The columns of a file that are read, by their names in the file."""

    inputs: tuple[str, ...]
    labels: tuple[str, ...] = ()
    group: str | None = None
    order: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All of them; those of the labels come last."""
        others = tuple(name for name in (self.group, self.order) if name is not None)
        return (*self.inputs, *others, *self.labels)


class Picker:
    """Chooses among the columns of a file; what it has chosen is in `chosen`."""

    def __init__(self, columns: Columns, form: Form, source: str) -> None:
        self._columns = columns
        self._form = form
        self._source = source
        self.chosen = Chosen(())

    def __call__(self, names: Sequence[str]) -> Sequence[str]:
        """Return the names of the columns that are read.

        Raises:
            DataError: one is missing, or there are several with that name.
        """
        columns, source = self._columns, self._source
        inputs = as_names(columns.input) or _default_inputs(names, self._form, source)
        labels = as_names(columns.label) or _default_labels(names, self._form)
        self.chosen = Chosen(
            tuple(_find(names, name, "input", source) for name in inputs),
            tuple(_find(names, name, "label", source) for name in labels),
            columns.group and _find(names, columns.group, "group", source),
            columns.order and _find(names, columns.order, "order", source),
        )
        if twice := [name for name in self.chosen.inputs if name in self.chosen.labels]:
            raise DataError(
                f"task.columns: {source}: {twice[0]!r} is both the input and the label; name the "
                f"column of the texts in task.columns.input"
            )
        return self.chosen.names

    def unused(self, names: Sequence[str]) -> list[str]:
        """Return the names of the columns that nothing is read from."""
        used = set(self.chosen.names)
        return [shown_name(column) for column in names if column not in used]


def shown_name(name: str) -> str:
    """Return a column's name for a message: quoted where a blank or an odd character is in it."""
    text = without_surrogates(str(name))
    text = text if len(text) <= 40 else text[:39] + "…"
    return text if text == text.strip() and text.isprintable() and text else repr(text)


def _default_inputs(names: Sequence[str], form: Form, source: str) -> tuple[str, ...]:
    stripped = [str(name).strip() for name in names]
    if form.input == "pair":
        return _default_pair(stripped, source)
    if form.input != "text":
        usual = _INPUTS[form.input]
        return (next((name for name in usual if name in stripped), usual[0]),)
    found = [name for name in INPUT_NAMES if name in stripped]
    if form.label == "text":
        return (next((n for n in (*_PROMPTS, *found) if n in stripped), _PROMPTS[0]),)
    pairs = [name for name in stripped if name.lower() in PAIR_NAMES]
    if len(found) > 1 or (found and pairs):
        raise DataError(
            f"task.columns.input: {source} has several columns of text "
            f"({', '.join([*found, *pairs])}), and a trial reads one; name it, or join the texts "
            f"in a column of their own"
        )
    return (found[0] if found else INPUT_NAMES[0],)


def _default_pair(names: Sequence[str], source: str) -> tuple[str, ...]:
    single = [(name,) for name in _INPUTS["pair"] if name in names]
    found = [*(pair for pair in PAIRS if set(pair) <= set(names)), *single]
    if len(found) == 1:
        return found[0]
    shown = ", ".join(map(shown_name, names[:20])) + (", …" if len(names) > 20 else "")
    what = "no usual pair" if not found else "several pairs"
    raise DataError(
        f"task.columns.input: {source} has {what} of texts; name the two columns, such as "
        f"[premise, hypothesis]; it has {shown}"
    )


def _default_labels(names: Sequence[str], form: Form) -> tuple[str, ...]:
    if form.label is None:
        return ()
    stripped = [str(name).strip() for name in names]
    usual = _LABELS[form.label]
    return (next((name for name in usual if name in stripped), usual[0]),)


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
    shown = ", ".join(map(shown_name, names[:20])) + (", …" if len(names) > 20 else "")
    raise DataError(f"task.columns.{key}: {source} has no column {wanted!r}; it has {shown}{hint}")
