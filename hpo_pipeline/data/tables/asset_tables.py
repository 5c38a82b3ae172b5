"""The data sets among the assets: rated sentences, and the digits of scikit-learn."""

from __future__ import annotations

import hashlib
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hpo_pipeline.data import assets
from hpo_pipeline.data.cleaning.tally import Tally
from hpo_pipeline.data.row_table import RowStore, RowTable, schema_of
from hpo_pipeline.data.tables.by_split import Tables
from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.tasks.kind import Form

DIGITS = "digits"
RATING_THRESHOLD = 0.5
"""Sentences rated closer to neutral than this on the scale from -4 to 4 are left out."""


def read_sentences(task: Task) -> Tables:
    """Return the rated sentences of an asset: as positive or negative, or with their mean rating.

    Raises:
        DataError: the asset holds something else, or cannot be fetched.
    """
    form = TASKS[task.kind].form(task)
    if form not in (Form("text", "class"), Form("text", "number"), Form("text", None)):
        raise DataError(
            f"task.data: the asset {task.data} has texts with a class or a number each, and the "
            f"task reads rows of another form"
        )
    (name,) = task.sources
    asset = assets.ASSETS[name]
    if asset.kind != "data":
        raise DataError(f"task.data: {task.data} is a model, not data")
    if task.data == DIGITS:
        raise DataError(f"task.data: {task.data} holds images, which {task.kind} does not read")
    folder = assets.fetch(name)
    if asset.format == assets.SENTENCES_BY_SOURCE:
        return _by_source(form, asset, folder)
    rated = _rated(folder / asset.members[0].name)
    if form.label != "class":
        return _unfiltered(form, asset, rated)
    kept = [(text, rating) for rating, text in rated if abs(rating) >= RATING_THRESHOLD]
    texts = [text for text, _ in kept]
    labels = ["positive" if rating > 0 else "negative" for _, rating in kept]
    table = _table(Form("text", "class"), texts, labels)
    neutral = len(rated) - len(kept)
    return Tables(
        f"asset {task.data}",
        asset.members[0].sha256,
        {"train": table},
        tallies={"train": Tally(read=len(table))},
        notes=(
            f"{neutral:,} of {len(rated):,} sentences are left out, for they are rated closer to "
            f"neutral than {RATING_THRESHOLD}.",
        ),
    )


def _rated(path: Path) -> list[tuple[float, str]]:
    """Return the sentences of a file with their mean ratings."""
    rows = [line.split("\t", 2) for line in path.read_text("utf-8").splitlines() if line]
    return [(float(rating), html.unescape(text).strip()) for _, rating, text in rows]


def _by_source(form: Form, asset: assets.Asset, folder: Path) -> Tables:
    """Return all sentences of several files, labelled by the file where the form has a label."""
    if form.label == "number":
        raise DataError(f"task.data: the texts of {asset.name} have a class each, and no number")
    texts: list[str] = []
    labels: list[str] = []
    for source, (file, *_) in assets.SOURCES.items():
        found = [text for _, text in _rated(folder / file)]
        texts += found
        labels += [source] * len(found)
    table = _table(form, texts, labels)
    digest = hashlib.sha256("".join(member.sha256 for member in asset.members).encode())
    counts = {"train": Tally(read=len(table))}
    return Tables(f"asset {asset.name}", digest.hexdigest(), {"train": table}, form, tallies=counts)


def _unfiltered(form: Form, asset: assets.Asset, rated: list[tuple[float, str]]) -> Tables:
    """Return all sentences, with their mean rating where the form has a number."""
    table = _table(form, [text for _, text in rated], [rating for rating, _ in rated])
    sha256 = asset.members[0].sha256
    counts = {"train": Tally(read=len(table))}
    return Tables(f"asset {asset.name}", sha256, {"train": table}, form, tallies=counts)


def read_digits() -> Tables:
    """Return the digits, which come with scikit-learn."""
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    pixels = (bunch.images * 255 / 16).round().astype("uint8")
    form = Form("image", "class")
    table = _table(form, [image.tobytes() for image in pixels], list(map(str, bunch.target)))
    return Tables(
        "scikit-learn digits",
        hashlib.sha256(pixels.tobytes()).hexdigest(),
        {"train": table},
        form,
        shape=(8, 8, 1),
        tallies={"train": Tally(read=len(table))},
    )


def _table(form: Form, inputs: Sequence[Any], labels: Sequence[Any]) -> RowTable:
    store = RowStore(schema_of(form))
    store.append({"input": inputs, "label": labels}, sum(map(len, inputs)))
    return store.table()
