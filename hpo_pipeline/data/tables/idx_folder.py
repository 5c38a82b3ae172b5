"""Images in the IDX format of MNIST: for each split a file of pixels and a file of labels.

A file is two zero bytes, the type of its values (8: unsigned bytes), its number of dimensions, the
dimensions as big-endian 32 bit numbers, and the values. Source: the page of the MNIST database,
LeCun, Cortes & Burges.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import BinaryIO, cast

from hpo_pipeline.data.cleaning.tally import Tally
from hpo_pipeline.data.progress import Progress
from hpo_pipeline.data.row_table import RowStore, RowTable, schema_of
from hpo_pipeline.data.tables.by_split import Tables
from hpo_pipeline.data.tables.folders import SPLIT_NAMES, split_of
from hpo_pipeline.data.tables.images import MAX_BYTES
from hpo_pipeline.errors import DataError
from hpo_pipeline.tasks.kind import Form, Shape

FORM = Form("image", "class")
_NAME = re.compile(r"(?P<split>.+)-(?P<what>images|labels)[-.]idx\d-ubyte(\.gz)?", re.IGNORECASE)
_TEST = "t10k"
_MAGIC = bytes([0, 0, 8])


def is_idx(folder: Path) -> bool:
    """Return whether a folder holds images in this format.

    Raises:
        OSError: the folder cannot be listed.
    """
    return any(_NAME.fullmatch(path.name) for path in folder.iterdir())


def read_idx(folder: Path, progress: Progress) -> Tables:
    """Read the splits of a folder; `t10k` is its test split, as MNIST calls it.

    Raises:
        DataError: there is no training split, a file lacks its counterpart, is cut off or of
            another format, or the splits have different shapes.
    """
    splits = _files(folder)
    progress.start("Reading images", 0)
    digest = hashlib.sha256()
    tables: dict[str, RowTable] = {}
    shapes: dict[str, Shape] = {}
    for split in (name for name in SPLIT_NAMES if name in splits):
        images, labels = splits[split]
        shapes[split], pixels = _images(images)
        named = _labels(labels)
        if len(named) != len(pixels):
            raise DataError(
                f"task.data: {images.name} has {len(pixels):,} images and {labels.name} "
                f"{len(named):,} labels; each image needs one"
            )
        store = RowStore(schema_of(FORM))
        for image, label in zip(pixels, named, strict=True):
            store.append({"input": [image], "label": [label]}, len(image))
            digest.update(image)
        digest.update("\0".join((split, *named)).encode())
        tables[split] = store.table()
        progress.add(len(named))
    if len(set(shapes.values())) > 1:
        seen = ", ".join(f"{split} {'x'.join(map(str, s))}" for split, s in shapes.items())
        raise DataError(f"task.data: {folder}: images of all splits must have one shape: {seen}")
    return Tables(
        folder.name,
        digest.hexdigest(),
        tables,
        FORM,
        shapes["train"],
        {split: Tally(read=len(table)) for split, table in tables.items()},
    )


def _files(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Return the files of pixels and of labels by split."""
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.iterdir()):
        name = _NAME.fullmatch(path.name)
        if name is None:
            continue
        split = "test" if name["split"].lower() == _TEST else split_of(name["split"])
        if split is None:
            raise DataError(
                f"task.data: {path} is of no split; its name must start with train, validation, "
                f"test or {_TEST}"
            )
        kind = name["what"].lower()
        if other := found.setdefault(split, {}).get(kind):
            raise DataError(
                f"task.data: {folder}: both {other.name} and {path.name} are the {kind} of "
                f"{split}; keep one"
            )
        found[split][kind] = path
    for split, files in found.items():
        if lacking := {"images", "labels"} - set(files):
            (there,) = files.values()
            raise DataError(f"task.data: {there} has no file of {lacking.pop()} of {split} beside")
    if "train" not in found:
        raise DataError(f"task.data: {folder} has no train-images-idx3-ubyte")
    return {split: (files["images"], files["labels"]) for split, files in found.items()}


def _images(file: Path) -> tuple[Shape, Sequence[bytes]]:
    """Return the shape of the images (height, width, channels) and the pixels of each."""
    sizes, content = _read(file, dimensions=(3, 4))
    count, height, width, channels = (*sizes, 1)[:4]
    if channels not in (1, 3):
        raise DataError(f"task.data: {file} has {channels} channels; 1 or 3 can be read")
    each = height * width * channels
    return (height, width, channels), [content[i * each : (i + 1) * each] for i in range(count)]


def _labels(file: Path) -> list[str]:
    _, content = _read(file, dimensions=(1,))
    return [str(value) for value in content]


def _read(file: Path, *, dimensions: Sequence[int]) -> tuple[tuple[int, ...], bytes]:
    """Return the dimensions of a file and its values."""
    try:
        with _opened(file) as stream:
            magic = stream.read(4)
            count = magic[-1] if len(magic) == len(_MAGIC) + 1 else 0
            if magic[:-1] != _MAGIC or count not in dimensions:
                raise DataError(
                    f"task.data: {file} is no IDX file of unsigned bytes with "
                    f"{' or '.join(map(str, dimensions))} dimensions"
                )
            header = stream.read(4 * count)
            sizes = tuple(
                int.from_bytes(header[4 * i : 4 * i + 4], "big") for i in range(len(header) // 4)
            )
            total = prod(sizes)
            if len(sizes) == count and 0 < total <= MAX_BYTES:
                content = stream.read(total)
                if len(content) == total and not stream.read(1):
                    return sizes, content
            raise DataError(
                f"task.data: {file} is not as long as its header says "
                f"({' x '.join(map(str, sizes))} bytes); fetch it again"
            )
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"task.data: {file} cannot be read: {error}") from error


def _opened(file: Path) -> BinaryIO:
    return cast("BinaryIO", gzip.open(file) if file.suffix == ".gz" else file.open("rb"))
