"""Tables of images: decoded to one shape, one after another."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from hpo_pipeline.data.cleaning.labels import label_text
from hpo_pipeline.data.cleaning.tally import Tally
from hpo_pipeline.data.progress import Progress
from hpo_pipeline.data.readers.source_file import BadRows
from hpo_pipeline.data.row_table import RowStore, RowTable, schema_of
from hpo_pipeline.data.tables.by_split import Tables
from hpo_pipeline.data.tables.folders import image_files
from hpo_pipeline.data.tables.images import (
    Picture,
    fit_pixels,
    header_of,
    headers_of,
    image_pixels,
    notes_on,
    shape_of,
)
from hpo_pipeline.errors import DataError
from hpo_pipeline.tasks.kind import Form

FORM = Form("image", "class")


def read_images(
    folder: Path,
    bad_rows: BadRows,
    progress: Progress,
    *,
    size: tuple[int, int] | None,
    channels: int | None,
) -> Tables:
    """Read SPLIT/LABEL/IMAGE or LABEL/IMAGE below a folder.

    Args:
        size: height and width of all; None takes the most frequent size of the files.
        channels: 1 for grey, 3 for colour; None takes colour where any file has it.

    Raises:
        DataError: there are none, or more than are allowed cannot be read.
    """
    try:
        files, notes = image_files(folder)
    except OSError as error:
        raise DataError(f"task.data: {folder} cannot be read: {error.strerror}") from error
    every = [path for paths in files.values() for path in paths]
    progress.start("Looking at images", len(every))
    headers = headers_of(every, bad_rows, progress)
    shape = shape_of(list(headers.values()), size=size, channels=channels)
    progress.start("Decoding images", len(headers))
    digest = hashlib.sha256()
    tables: dict[str, RowTable] = {}
    tallies: dict[str, Tally] = {}
    for split, paths in files.items():
        store, labels = RowStore(schema_of(FORM)), []
        for path in paths:
            progress.add(1)
            pixels = image_pixels(path, shape, bad_rows) if path in headers else None
            if pixels is None:
                continue
            digest.update(_sha256(path))  # of the file: pixels depend on the model's size
            labels.append(label_text(path.parent.name) or path.parent.name)
            store.append({"input": [pixels], "label": labels[-1:]}, len(pixels))
        tables[split] = store.table()
        tallies[split] = Tally(read=len(paths), unreadable=len(paths) - len(labels))
        digest.update("\0".join((split, *labels)).encode())
    return Tables(
        folder.name,
        digest.hexdigest(),
        tables,
        FORM,
        shape,
        tallies,
        (*notes, *bad_rows.notes(), *notes_on(list(headers.values()), shape)),
    )


def decoded(
    tables: Tables,
    bad_rows: BadRows,
    progress: Progress,
    *,
    size: tuple[int, int] | None,
    channels: int | None,
) -> Tables:
    """Decode images whose files are in the rows of tables, as data sets of the hub have them.

    Raises:
        DataError: more than are allowed cannot be read.
    """
    progress.start("Looking at images", sum(map(len, tables.tables.values())))
    headers = {
        split: [header_of(picture, bad_rows) for picture in _pictures(split, table, progress)]
        for split, table in tables.tables.items()
    }
    known = [header for found in headers.values() for header in found if header is not None]
    if not known:
        raise DataError("task.data: there is no image that can be read")
    shape = shape_of(known, size=size, channels=channels)
    progress.start("Decoding images", sum(map(len, tables.tables.values())))
    converted: dict[str, RowTable] = {}
    tallies = dict(tables.tallies)
    for split, table in tables.tables.items():
        store, left_out = RowStore(schema_of(FORM)), 0
        pictures = zip(
            _pictures(split, table, progress), table["label"], headers[split], strict=True
        )
        for picture, label, header in pictures:
            pixels = None if header is None else image_pixels(picture, shape, bad_rows)
            if pixels is None:
                left_out += 1
            else:
                store.append({"input": [pixels], "label": [label]}, len(pixels))
        converted[split] = store.table()
        tally = tallies[split]
        tallies[split] = replace(tally, unreadable=tally.unreadable + left_out)
    notes = (*tables.notes, *bad_rows.notes(), *notes_on(known, shape))
    return replace(tables, tables=converted, shape=shape, tallies=tallies, notes=notes)


def _pictures(split: str, table: RowTable, progress: Progress) -> Iterator[Picture]:
    for number, content in enumerate(table["input"], start=1):
        progress.add(1)
        yield f"image {number:,} of the {split} rows", content


def fitted(tables: Tables, *, size: tuple[int, int] | None, channels: int | None) -> Tables:
    """Convert images that are decoded already to another shape.

    Raises:
        DataError: pillow is missing, or all of them together are too large.
    """
    assert tables.shape is not None
    found: Mapping[str, RowTable] = tables.tables
    converted: dict[str, RowTable] = {}
    shape, notes = tables.shape, tables.notes
    for split, table in found.items():
        images = fit_pixels(list(table["input"]), tables.shape, size=size, channels=channels)
        store = RowStore(schema_of(FORM))
        characters = sum(map(len, images.pixels))
        store.append({"input": images.pixels, "label": list(table["label"])}, characters)
        converted[split] = store.table()
        shape, notes = images.shape, (*notes, *images.notes)
    return replace(tables, tables=converted, shape=shape, notes=notes)


def _sha256(path: Path) -> bytes:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()
