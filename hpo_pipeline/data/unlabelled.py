"""Inputs without labels, for a finished model: from a data file, lines of text, or image files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo_pipeline.data.cleaning.columns import Picker
from hpo_pipeline.data.cleaning.inputs import READ, joined
from hpo_pipeline.data.readers import data_suffix, read_file
from hpo_pipeline.data.readers.source_file import SourceFile
from hpo_pipeline.data.tables.images import IMAGE_SUFFIXES, decode_images
from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.data_fields import Columns
from hpo_pipeline.tasks.kind import Form, Shape


@dataclass(frozen=True)
class Inputs:
    """What a model is asked: the values in its form, and how a person knows them again."""

    values: Sequence[Any]
    shown: Sequence[str]


def inputs_of_file(file: Path, form: Form, columns: tuple[str, ...]) -> Inputs:
    """Read the inputs of a data file.

    Args:
        columns: one, or two for pairs of texts; without any, those of the usual names are found.

    Raises:
        DataError: the file cannot be read, has no such column, or a row has no input.
    """
    named: str | tuple[str, ...] | None = None
    if columns:
        named = columns if len(columns) > 1 else columns[0]
    picker = Picker(Columns(input=named), form, file.name)
    raw = read_file(SourceFile(file, file.name), picker)
    values: list[Any] = []
    for chunk in raw.chunks:
        for number, value in zip(chunk.numbers, joined(chunk.columns), strict=True):
            place = f"{file.name}, {raw.unit} {number:,}"
            try:
                found = READ[form.input](value)
            except ValueError as error:
                raise DataError(f"{place}: holds {error}") from error
            if found is None:
                raise DataError(f"{place}: has no input; leave the row out, or fill it")
            values.append(found)
    return Inputs(values, [shown_input(value) for value in values])


def inputs_of_texts(texts: Sequence[str], form: Form) -> Inputs:
    """Take texts as they are; words are parted by blanks, and a chat is one message of the user.

    Raises:
        DataError: the model reads pairs of texts or images.
    """
    if form.input in ("pair", "image"):
        what = "two texts a row" if form.input == "pair" else "images"
        raise DataError(f"the model reads {what}; name a file with them")
    kept = [text.strip() for text in texts if text.strip()]
    values: Sequence[Any] = kept
    if form.input == "words":
        values = [text.split() for text in kept]
    elif form.input == "messages":
        values = [[{"role": "user", "content": text}] for text in kept]
    return Inputs(values, kept)


def inputs_of_images(place: Path, shape: Shape) -> Inputs:
    """Decode an image file, or those of a folder and the folders in it.

    Raises:
        DataError: there are none, or one cannot be decoded.
    """
    files = [place] if place.is_file() else sorted(place.rglob("*"))
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        raise DataError(f"{place}: has no image ({', '.join(IMAGE_SUFFIXES)})")
    height, width, channels = shape
    pixels = decode_images(images, size=(height, width), channels=channels).pixels
    base = place.parent if place.is_file() else place
    return Inputs(pixels, [str(path.relative_to(base)) for path in images])


def is_table(file: Path) -> bool:
    """Return whether a file has columns, rather than a text in each line."""
    suffix = data_suffix(file.name)
    return bool(suffix) and ".txt" not in suffix


def shown_input(value: Any) -> str:
    """Return an input as a text for people."""
    if isinstance(value, str):
        return value
    if isinstance(value[0], dict):
        return str(value[-1]["content"])
    return (" | " if len(value) == 2 else " ").join(value)
