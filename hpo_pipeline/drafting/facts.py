"""What all rows of data say: how many, how long, how balanced, and what is wrong with them.

They are read and split as the prepare stage will do it, so what is found here is what happens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpo_pipeline.data.progress import Progress
from hpo_pipeline.data.row_table import Part
from hpo_pipeline.data.sources import read_tables
from hpo_pipeline.data.splitting.splits import split
from hpo_pipeline.drafting.guess import Guess
from hpo_pipeline.drafting.sample import Sample
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.tasks.kind import Form, Shape

MEASURED_ROWS = 20_000
SHOWN_LABELS = 6
SKEWED = 2.0
"""The most frequent class is so many times as frequent as the rarest: accuracy hides the rare."""


@dataclass(frozen=True)
class Facts:
    """What is known of all rows.

    Attributes:
        rows: by split, as they would be split by default.
        splits: the names of the splits that come with the data.
        labels: how often each class occurs in the training rows, most frequent first.
        words: of the inputs: the mean, and the number that 95 % of them do not exceed.
        target_words: the same of the texts to write, of which there may be none.
        is_english: whether the letters are mostly those of English.
        shape: height, width and channels of images.
        notes: sentences on rows that were left out: duplicates, contradictions, leaks.
    """

    rows: Mapping[str, int]
    splits: tuple[str, ...]
    labels: Mapping[str, int]
    words: tuple[float, float] = (0.0, 0.0)
    target_words: tuple[float, float] = (0.0, 0.0)
    is_english: bool = True
    shape: Shape | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_skewed(self) -> bool:
        """Whether some classes are much rarer than others."""
        counts = list(self.labels.values())
        return len(counts) > 1 and counts[0] > SKEWED * counts[-1]

    def label_text(self) -> str:
        """Return the labels with their shares, for people."""
        total = max(1, sum(self.labels.values()))
        shown = [f"{n} {count / total:.0%}" for n, count in [*self.labels.items()][:SHOWN_LABELS]]
        more = len(self.labels) - SHOWN_LABELS
        return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def task_of(found: Sample, guess: Guess, **fields: Any) -> Task:
    """Return the section `task` of a guess, with the data named in full."""
    data = found.data if isinstance(found.data, str) else str(found.data.resolve())
    return Task.model_validate(
        {
            "kind": guess.kind,
            "data": data,
            "columns": columns_of(guess),
            **guess.settings,
            **fields,
        }
    )


def columns_of(guess: Guess) -> dict[str, Any]:
    """Return the section `task.columns` of a guess; empty where the usual names do."""
    columns: dict[str, Any] = {}
    for key, names in (("input", guess.inputs), ("label", guess.labels)):
        if names:
            columns[key] = names[0] if len(names) == 1 else list(names)
    if guess.separator:
        columns["separator"] = guess.separator
    return columns


def facts_of(task: Task, form: Form, progress: Progress | None = None) -> Facts:
    """Read and split all rows.

    Raises:
        DataError: the rows are not what the guess says, or too few.
    """
    tables = read_tables(task, progress)
    splits = split(tables.tables, task.rows, tables.tallies, form=tables.form, progress=progress)
    train = splits.tables["train"]
    inputs = _some(train, "input") if form.input != "image" else []
    targets = _some(train, "label") if form.label == "text" else []
    labels = _some(train, "label") if form.label in ("class", "classes") else []
    counts = Counter(name for row in labels for name in ([row] if isinstance(row, str) else row))
    return Facts(
        rows={name: len(part) for name, part in splits.tables.items()},
        splits=tuple(tables.tables),
        labels=dict(counts.most_common()),
        words=_lengths(inputs),
        target_words=_lengths(targets),
        is_english=_is_english(inputs),
        shape=tables.shape,
        notes=(*tables.notes, *splits.notes),
    )


def _some(part: Part, column: str) -> Sequence[Any]:
    return part[column][: min(len(part), MEASURED_ROWS)]


def _lengths(inputs: Sequence[Any]) -> tuple[float, float]:
    if not len(inputs):
        return 0.0, 0.0
    words = [len(_text(value).split()) for value in inputs]
    return float(np.mean(words)), float(np.quantile(words, 0.95))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    parts = (part if isinstance(part, str) else part["content"] for part in value)
    return " ".join(parts)


def _is_english(inputs: Sequence[Any]) -> bool:
    letters = [sign for value in inputs[:500] for sign in _text(value)[:200] if sign.isalpha()]
    foreign = sum(not sign.isascii() for sign in letters)
    return foreign <= 0.05 * max(1, len(letters))
