"""The data sets among the assets: rated sentences, and the digits of scikit-learn."""

from __future__ import annotations

import hashlib
import html
from typing import Any

import pandas as pd

from hpo_pipeline.data import assets
from hpo_pipeline.data.tables import Tables
from hpo_pipeline.data.tally import Tally
from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.task import Task

DIGITS = "digits"
RATING_THRESHOLD = 0.5
"""Sentences rated closer to neutral than this on the scale from -4 to 4 are left out."""


def read_sentences(task: Task) -> Tables:
    """Return the rated sentences of an asset as positive or negative.

    Raises:
        DataError: the asset holds something else, or cannot be fetched.
    """
    asset = assets.ASSETS[task.data]
    if asset.kind != "data":
        raise DataError(f"task.data: {task.data} is a model, not data")
    if task.data == DIGITS:
        raise DataError(f"task.data: {task.data} holds images, which {task.kind} does not read")
    folder = assets.fetch(task.data)
    path = folder / asset.members[0].name
    rows = [line.split("\t", 2) for line in path.read_text("utf-8").splitlines() if line]
    rated = [(float(rating), html.unescape(text).strip()) for _, rating, text in rows]
    kept = [(text, rating) for rating, text in rated if abs(rating) >= RATING_THRESHOLD]
    table = pd.DataFrame(
        {
            "input": [text for text, _ in kept],
            "label": ["positive" if rating > 0 else "negative" for _, rating in kept],
        }
    )
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


def read_digits() -> Tables:
    """Return the digits, which come with scikit-learn."""
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    pixels = (bunch.images * 255 / 16).round().astype("uint8")
    table = pd.DataFrame(
        {
            "input": [image.tobytes() for image in pixels],
            "label": [str(label) for label in bunch.target],
        }
    )
    return Tables(
        "scikit-learn digits",
        hashlib.sha256(pixels.tobytes()).hexdigest(),
        {"train": table},
        shape=(8, 8, 1),
        tallies={"train": Tally(read=len(table))},
    )
