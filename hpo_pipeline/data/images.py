"""Decoding image files: every file becomes the bytes of an array of one common shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.task import Task

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff")
"""Suffixes in lower case; a file is taken whatever the case of its own."""


@dataclass(frozen=True)
class Images:
    """Images of one shape.

    Attributes:
        pixels: one image each, as uint8 of height x width x channels.
        shape: height, width and channels of all.
        notes: sentences on what was changed to get there, for the person who reads the report.
    """

    pixels: list[bytes]
    shape: tuple[int, int, int]
    notes: tuple[str, ...] = ()


def decode_images(files: Sequence[Path], task: Task) -> Images:
    """Decode one or more image files to the size and mode of the first.

    Raises:
        DataError: pillow is missing, or a file cannot be decoded; the message names the file.
    """
    try:
        import numpy as np
        from PIL import Image
    except ImportError as error:
        raise DataError("task.data: reading images needs the package pillow") from error
    with Image.open(files[0]) as first:
        mode = "L" if first.mode in ("1", "L", "I", "I;16") else "RGB"
        size = first.size
    pixels = []
    for path in files:
        try:
            with Image.open(path) as image:
                pixels.append(np.asarray(image.convert(mode).resize(size), dtype="uint8").tobytes())
        except OSError as error:
            raise DataError(f"task.data: {path} cannot be read: {error}") from error
    return Images(pixels, (size[1], size[0], 1 if mode == "L" else 3))
