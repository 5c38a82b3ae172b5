"""Which kind of task data are for, and which columns hold inputs and labels.

The answer is a guess with its reasons, or a question where two answers are equally likely.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hpo_pipeline.data.cleaning.columns import shown_name
from hpo_pipeline.drafting import columns
from hpo_pipeline.drafting.profiles import Profile, profiles
from hpo_pipeline.drafting.sample import Sample
from hpo_pipeline.drafting.several import flag_columns, separator_of
from hpo_pipeline.errors import DataError

TEXT, WORDS, IMAGES = "text-classification", "token-classification", "image-classification"
LANGUAGE, PAIRS = "language-modeling", "seq2seq"


@dataclass(frozen=True)
class Wanted:
    """What the user has said already."""

    kind: str | None = None
    inputs: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Guess:
    """A kind of task with its columns.

    Attributes:
        settings: fields of the section `task` that follow: `problem`, `examples`, `scheme`.
        notes: sentences on columns that were passed over, and why.
    """

    kind: str
    inputs: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    separator: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_several(self) -> bool:
        """Whether a row has several labels."""
        return self.settings.get("problem") == "multi_label"


@dataclass(frozen=True)
class Question:
    """What only the user knows: `option` of the command takes one of the choices."""

    text: str
    option: str
    choices: tuple[str, ...]

    def as_fault(self) -> str:
        """Return the question for someone who cannot be asked."""
        listed = " or ".join(f"--{self.option} {choice}" for choice in self.choices)
        return f"{self.text} Run the same command with {listed}"


def guess(found: Sample, wanted: Wanted) -> Guess | Question:
    """Guess the kind of task and its columns.

    Raises:
        DataError: there is nothing to learn from, or nothing to learn; it says what to do.
    """
    if found.is_images:
        return Guess(IMAGES)
    if not found.columns:
        return Guess(TEXT)
    known = profiles(found.columns)
    _check_named(wanted, [p.name for p in known])
    if wanted.kind == LANGUAGE and not wanted.labels:
        return _language(known, wanted)
    for special in (_chats, _tagged, _pictures):
        if (answer := special(known, wanted)) is not None:
            return answer
    if found.is_plain_text:
        raise DataError(
            f"{found.data}: has lines of text and no labels; to learn the language of the texts, "
            f"add --kind {LANGUAGE}; to classify them, save a csv with a column of labels"
        )
    return _texts(known, wanted)


def _check_named(wanted: Wanted, names: Sequence[str]) -> None:
    for option, named in (("input", wanted.inputs), ("label", wanted.labels)):
        for name in named:
            if name not in names:
                listed = ", ".join(map(shown_name, names[:20]))
                raise DataError(f"--{option}: there is no column {name!r}; there are {listed}")


def _language(known: Sequence[Profile], wanted: Wanted) -> Guess:
    texts = [p for p in known if p.what == "text" and not columns.is_id(p)]
    if not wanted.inputs and not texts:
        raise DataError(_no_input(known))
    inputs = wanted.inputs or (columns.best_text(texts).name,)
    return Guess(LANGUAGE, inputs, settings={"examples": "texts"})


def _chats(known: Sequence[Profile], wanted: Wanted) -> Guess | None:
    chats = [p for p in known if p.what == "messages" and _may_be(p, wanted.inputs)]
    if not chats or wanted.kind not in (None, LANGUAGE):
        return None
    return Guess(LANGUAGE, (chats[0].name,), settings={"examples": "chats"})


def _tagged(known: Sequence[Profile], wanted: Wanted) -> Guess | None:
    """Find a list of words and a list of as many tags in each row."""
    lists = [p for p in known if p.what == "list" and p.words > 1]
    if wanted.kind not in (None, WORDS):
        return None
    for words in lists:
        for tags in lists:
            sizes = zip(words.values, tags.values, strict=False)
            is_apart = words is not tags and len(_entries(tags)) < len(_entries(words))
            if not (is_apart and _may_be(words, wanted.inputs) and _may_be(tags, wanted.labels)):
                continue
            if len(words.values) == len(tags.values) and all(len(a) == len(b) for a, b in sizes):
                marks = {str(tag)[:2] for tag in _entries(tags)} - {"O"}
                scheme = "auto" if marks <= {"B-", "I-", "E-", "S-", "L-", "U-"} else "none"
                return Guess(WORDS, (words.name,), (tags.name,), {"scheme": scheme})
    return None


def _entries(profile: Profile) -> set[Any]:
    return {entry for value in profile.values for entry in value}


def _pictures(known: Sequence[Profile], wanted: Wanted) -> Guess | Question | None:
    images = [p for p in known if p.what == "image" and _may_be(p, wanted.inputs)]
    if not images:
        return None
    labels = columns.labels(p for p in known if p.is_class_like)
    if not wanted.labels and len(labels) != 1:
        return _which_label(labels, "image")
    return Guess(IMAGES, (images[0].name,), wanted.labels or (labels[0].name,))


def _texts(known: Sequence[Profile], wanted: Wanted) -> Guess | Question:
    """Find texts and what is said of them."""
    if not wanted.inputs and not columns.texts(known):
        raise DataError(_no_input(known))
    if wanted.labels:
        label: Guess | Question | None = _of_label(known, wanted.labels)
    else:
        label = _label(known, wanted)
    if isinstance(label, Question):
        return label
    used = () if label is None else label.labels
    texts = [p for p in columns.texts(known) if p.name not in used]
    if not texts and not wanted.inputs:
        raise DataError(_no_input(known))
    if label is None or label.kind != TEXT:
        return _written_answers(texts, wanted, used)
    if wanted.inputs:
        inputs = wanted.inputs
    else:
        pair = columns.pair(texts)
        inputs = pair or (columns.best_text(texts).name,)
    passed = [p.name for p in texts if p.name not in inputs]
    notes: tuple[str, ...] = ()
    if passed:
        listed = ", ".join(map(shown_name, passed))
        notes = (f"Texts of other columns are not read: {listed}; --input names the one to read.",)
    return replace(label, inputs=inputs, notes=(*label.notes, *notes))


def _label(known: Sequence[Profile], wanted: Wanted) -> Guess | Question | None:
    """Find the labels; None where there are none, or they are texts."""
    if flags := flag_columns(known):
        return Guess(TEXT, labels=flags, settings={"problem": "multi_label"})
    usable = [p for p in known if not columns.is_id(p) and p.name not in wanted.inputs]
    several = [p for p in usable if p.what == "list" or separator_of(p)]
    classes = [p for p in usable if p.is_class_like and p.what != "text"]
    classes += [p for p in usable if p.is_class_like and p.what == "text" and p not in several]
    numbers = [p for p in usable if p.what in ("number", "whole") and not p.is_class_like]
    numbers = [p for p in numbers if p.what == "number" or columns.rank(p.name) < columns.OTHER]
    found = columns.labels([*several, *(p for p in classes if p not in several), *numbers])
    if len(found) > 1:
        return _which_label(found, "text")
    return _of_label(known, (found[0].name,)) if found else None


def _of_label(known: Sequence[Profile], names: tuple[str, ...]) -> Guess:
    """Say what kind of label a column holds."""
    if len(names) > 1:
        return Guess(TEXT, labels=names, settings={"problem": "multi_label"})
    (label,) = (p for p in known if p.name == names[0])
    if label.what == "list":
        return Guess(TEXT, labels=names, settings={"problem": "multi_label"})
    if (sign := separator_of(label)) is not None:
        settings = {"problem": "multi_label"}
        return Guess(TEXT, labels=names, settings=settings, separator=sign)
    if label.what in ("number", "whole") and not label.is_class_like:
        return Guess(TEXT, labels=names, settings={"problem": "regression"})
    if label.what == "text" and not label.is_class_like:
        return Guess(LANGUAGE, labels=names, settings={"examples": "completions"})
    notes: tuple[str, ...] = ()
    if label.what == "whole" and label.different > 2:
        notes = (
            f"{label.name!r} has {label.different} whole numbers, which are taken for classes; "
            f"where their order matters, set task.problem: regression.",
        )
    return Guess(TEXT, labels=names, notes=notes)


def _written_answers(
    texts: Sequence[Profile], wanted: Wanted, labels: tuple[str, ...]
) -> Guess | Question:
    """Find a text that answers another one."""
    names = tuple(p.name for p in texts)
    asked, answer = columns.answered(names)
    inputs = wanted.inputs or ((asked,) if asked else ())
    labels = labels or ((answer,) if answer and answer not in inputs else ())
    if not labels and len(names) < 2:
        listed = ", ".join(map(shown_name, names))
        raise DataError(
            f"there is nothing like a label beside {listed}: no column with few values, numbers or "
            f"answers; name the column with --label, or add --kind {LANGUAGE} to learn the "
            f"language of the texts alone"
        )
    if not inputs and labels:
        rest = [p for p in texts if p.name not in labels]
        inputs = (columns.best_text(rest).name,) if rest else ()
    if not inputs or not labels:
        return Question("Which column is to be written, given the others?", "label", names[:6])
    is_rewriting = columns.is_rewriting(inputs[0], labels[0])
    if wanted.kind == PAIRS or (wanted.kind is None and is_rewriting):
        return Guess(PAIRS, inputs, labels)
    return Guess(LANGUAGE, inputs, labels, {"examples": "completions"})


def _which_label(found: Sequence[Profile], inputs: str) -> Question:
    if not found:
        raise DataError(
            f"there is nothing like a label beside the column of the {inputs}s: no column with few "
            f"values; name the column with --label"
        )
    listed = ", ".join(f"{shown_name(p.name)} ({_values(p)})" for p in found[:6])
    return Question(
        f"Which column is the label? There are {listed}.",
        "label",
        tuple(p.name for p in found[:6]),
    )


def _values(profile: Profile) -> str:
    different = list(dict.fromkeys(str(value).strip() for value in profile.values))
    shown = ", ".join(text if len(text) <= 20 else f"{text[:19]}…" for text in different[:3])
    return shown if profile.different <= 3 else f"{profile.different} values such as {shown}"


def _no_input(known: Sequence[Profile]) -> str:
    held = ", ".join(f"{shown_name(p.name)} ({p.what})" for p in known[:12])
    return (
        f"there are no texts, images or chats to learn from: {held}; this package tunes models "
        f"that read those; name a column with --input if one of these is a text"
    )


def _may_be(profile: Profile, named: tuple[str, ...]) -> bool:
    return not named or profile.name in named
