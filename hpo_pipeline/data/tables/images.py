"""Decoding image files: every file becomes the bytes of an array of one common shape.

An image is turned as its EXIF says, transparent parts become white, 16 bit grey is scaled down to
8 bit, and the whole image is resized, without regard to its proportions, as transformers' own
image processors do.
"""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from hpo_pipeline.data.progress import Progress
from hpo_pipeline.data.readers.source_file import BadRows
from hpo_pipeline.errors import DataError
from hpo_pipeline.tasks.kind import Shape

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")

Picture = Path | tuple[str, bytes]
"""A file of an image, or the name of an image for messages and the content of its file."""

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff")
"""Suffixes in lower case; a file is taken whatever the case of its own."""

MAX_PIXELS = 50_000_000
"""Of one file; a small file can claim more and fill the memory (a decompression bomb)."""
MAX_BYTES = 64 * 2**30
"""Of all decoded images together."""
_GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N", "F")
_TURNED = (5, 6, 7, 8)
_ORIENTATION = 0x0112  # EXIF: at these values width and height change places


@dataclass(frozen=True)
class Images:
    """Images of one shape.

    Attributes:
        pixels: one image each, as uint8 of height x width x channels.
        shape: height, width and channels of all.
        notes: sentences on what was changed to get there, for the person who reads the report.
    """

    pixels: list[bytes]
    shape: Shape
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Header:
    """What is known of a file before its pixels are decoded; `size` is height and width."""

    size: tuple[int, int]
    is_grey: bool


def decode_images(
    files: Sequence[Path], *, size: tuple[int, int] | None = None, channels: int | None = None
) -> Images:
    """Decode one or more image files to one shape.

    Args:
        size: height and width of all; None takes the most frequent size of the files.
        channels: 1 for grey, 3 for colour; None takes colour where any file has it.

    Raises:
        DataError: pillow is missing, a file cannot be decoded (the message names it), or all of
            them together are too large.
    """
    bad_rows = BadRows()
    found = headers_of(files, bad_rows, Progress())
    headers = [found[path] for path in files]
    shape = shape_of(headers, size=size, channels=channels)
    pixels = [image_pixels(path, shape, bad_rows) or b"" for path in files]
    return Images(pixels, shape, notes_on(headers, shape))


def headers_of(files: Sequence[Path], bad_rows: BadRows, progress: Progress) -> dict[Path, Header]:
    """Return what is known of each file that can be read, before its pixels are decoded.

    Raises:
        DataError: pillow is missing, or too many files cannot be read; the message names one.
    """
    found: dict[Path, Header] = {}
    for path in files:
        header = header_of(path, bad_rows)
        progress.add(1)
        if header is not None:
            found[path] = header
    if not found:
        raise DataError("task.data: none of the images can be read")
    return found


def header_of(picture: Picture, bad_rows: BadRows) -> Header | None:
    """Return what is known of an image before it is decoded; None for a bad one of those allowed.

    Raises:
        DataError: pillow is missing, or too many images cannot be read; the message names one.
    """
    return _counted(picture, _header, bad_rows)


def shape_of(
    headers: Sequence[Header], *, size: tuple[int, int] | None, channels: int | None
) -> Shape:
    """Return the common shape of images: the one asked for, else the most frequent.

    Raises:
        DataError: all images together are too large in that shape.
    """
    if size is None:
        counts = Counter(header.size for header in headers)
        size = max(counts, key=lambda found: (counts[found], found))
    if channels is None:
        channels = 1 if all(header.is_grey for header in headers) else 3
    return _checked((*size, channels), len(headers))


def image_pixels(picture: Picture, shape: Shape, bad_rows: BadRows) -> bytes | None:
    """Return the pixels of an image in a shape; None where it is a bad one of those allowed.

    Raises:
        DataError: too many images cannot be read; the message names this one.
    """
    return _counted(picture, lambda image: _pixels(image, shape), bad_rows)


def fit_pixels(
    pixels: Sequence[bytes],
    shape: Shape,
    *,
    size: tuple[int, int] | None,
    channels: int | None,
) -> Images:
    """Convert images that are already decoded, from `shape`, as `decode_images` does.

    Raises:
        DataError: pillow is missing, or all of them together are too large.
    """
    wanted = (*(size or shape[:2]), channels or shape[2])
    if wanted == shape:
        return Images(list(pixels), shape)
    pillow = _pillow()
    height, width, found = shape
    mode = "L" if found == 1 else "RGB"
    wanted = _checked(wanted, len(pixels))
    images = (pillow.frombytes(mode, (width, height), content) for content in pixels)
    converted = [_pixels(image, wanted) for image in images]
    headers = [Header((height, width), found == 1)] * len(pixels)
    return Images(converted, wanted, notes_on(headers, wanted))


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise DataError(
            "task.data: reading images needs the package pillow; pip install pillow"
        ) from error
    return Image


def _counted(picture: Picture, read: Callable[[Image], T], bad_rows: BadRows) -> T | None:
    """Return what `read` makes of an image; None where it is a bad one of those allowed."""
    try:
        return _opened(picture, read)
    except UnreadableImage as error:
        try:
            bad_rows.add(str(error).removeprefix("task.data: "))
        except ValueError as refused:
            raise DataError(f"task.data: {refused}") from error
    return None


class UnreadableImage(DataError):
    """A file that is not an image, or is one that cannot be decoded."""


def _stream(picture: Picture) -> IO[bytes]:
    return picture.open("rb") if isinstance(picture, Path) else io.BytesIO(picture[1])


def _opened(picture: Picture, read: Callable[[Image], T]) -> T:
    """Return what `read` makes of an image."""
    path = picture if isinstance(picture, Path) else picture[0]
    pillow = _pillow()
    import PIL

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, and of sizes, which are checked here
            # Opened by its name, a file may be mapped into memory, and pillow 13.0 then reads an
            # uncompressed TIFF that must be turned wrongly.
            with _stream(picture) as stream, pillow.open(stream) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise UnreadableImage(
                        f"task.data: {path} has {width:,} x {height:,} pixels, and "
                        f"{MAX_PIXELS:,} are allowed; make it smaller"
                    )
                return read(image)
    except DataError:
        raise
    except PIL.UnidentifiedImageError as error:
        raise UnreadableImage(
            f"task.data: {path} is not an image, whatever its name says; repair or remove it"
        ) from error
    # Pillow's decoders raise whatever a broken file makes them stumble over: OSError, SyntaxError,
    # struct.error, DecompressionBombError, EOFError …
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UnreadableImage(
            f"task.data: {path} cannot be read as an image: {reason}; repair or remove it"
        ) from error


def _header(image: Image) -> Header:
    width, height = image.size
    # A PNG without EXIF before its pixels would be decoded to look behind them; the size of a TIFF
    # is that of the turned image already.
    has_exif = "exif" in image.info if image.format == "PNG" else image.format != "TIFF"
    is_turned = has_exif and image.getexif().get(_ORIENTATION) in _TURNED
    size = (width, height) if is_turned else (height, width)
    return Header(size, image.mode in _GREY_MODES or _has_grey_palette(image))


def _has_grey_palette(image: Image) -> bool:
    palette = image.getpalette("RGB") if image.mode in ("P", "PA") else None
    return palette is not None and palette[0::3] == palette[1::3] == palette[2::3]


def _pixels(image: Image, shape: Shape) -> bytes:
    from PIL import Image as pillow
    from PIL import ImageOps

    height, width, channels = shape
    upright = _eight_bit(ImageOps.exif_transpose(image))
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        white = pillow.new("RGBA", upright.size, "white")
        upright = pillow.alpha_composite(white, upright).convert("RGB")
    converted = upright.convert("L" if channels == 1 else "RGB")
    if converted.size != (width, height):
        converted = converted.resize((width, height), pillow.Resampling.BILINEAR)
    content: bytes = converted.tobytes()
    return content


def _eight_bit(image: Image) -> Image:
    """Scale grey of more than 8 bit down to 8; pillow itself would clip it to white.

    The scale is that of the type, not of the brightest pixel, so that images stay comparable:
    16 bit, or 32 bit where a value asks for it; real numbers up to 1, or up to 255.
    """
    if not (image.mode.startswith("I") or image.mode == "F"):
        return image
    import numpy as np
    from PIL import Image as pillow

    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    highest = values.max(initial=0.0)
    if image.mode == "F":
        full = 1.0 if highest <= 1 else 255.0
    else:
        full = 65_535.0 if highest <= 65_535 else 2.0**31 - 1
    return pillow.fromarray((values / full * 255).round().clip(0, 255).astype(np.uint8))


def _checked(shape: Shape, count: int) -> Shape:
    height, width, channels = shape
    total = height * width * channels * count
    if total > MAX_BYTES:
        raise DataError(
            f"task.data: {count:,} images of {height:,} x {width:,} pixels take "
            f"{total / 2**30:,.0f} GiB, and {MAX_BYTES / 2**30:,.0f} are allowed; set "
            f"task.config.image_size to a smaller size, or take fewer images"
        )
    return shape


def notes_on(headers: Sequence[Header], shape: Shape) -> tuple[str, ...]:
    """Return sentences on what was changed to bring images to one shape."""
    height, width, channels = shape
    total = len(headers)
    resized = sum(header.size != (height, width) for header in headers)
    greyed = 0 if channels == 3 else sum(not header.is_grey for header in headers)
    coloured = sum(header.is_grey for header in headers) if channels == 3 else 0
    notes = []
    if resized:
        notes.append(f"{resized:,} of {total:,} images were resized to {height} x {width} pixels.")
    if greyed:
        notes.append(f"{greyed:,} of {total:,} images lost their colours: the model takes grey.")
    if 0 < coloured < total:
        notes.append(f"{coloured:,} of {total:,} images are grey and were taken as coloured ones.")
    return tuple(notes)
