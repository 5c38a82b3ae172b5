"""Decoding images: every mode keeps its brightness and colours, every fault names its file."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from hpo_pipeline.data.sources import read_tables
from hpo_pipeline.data.tables.images import Images, decode_images, fit_pixels
from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.task import Task

WHITE, RED = (255, 255, 255), (200, 10, 20)


def saved(folder: Path, image: Image.Image, name: str = "x.png", **options: object) -> Path:
    image.save(folder / name, **options)
    return folder / name


def values(images: Images, number: int = 0) -> np.ndarray:
    return np.frombuffer(images.pixels[number], np.uint8).reshape(images.shape)


def grey(mode: str, value: float) -> Image.Image:
    kind = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
    return Image.fromarray(np.full((4, 6), value, kind))


@pytest.mark.parametrize(
    ("mode", "value", "name", "expected"),
    [
        ("I;16", 0x4000, "x.png", 64),  # pillow's own conversion gives 255 for these
        ("I;16", 0xFFFF, "x.png", 255),
        ("I;16", 0x8000, "x.tiff", 128),
        ("I", 0x4000, "x.tiff", 64),
        ("I", 2**30, "x.tiff", 128),
        ("F", 0.5, "x.tiff", 128),
        ("F", 100.0, "x.tiff", 100),
    ],
)
def test_grey_of_more_than_eight_bits_keeps_its_brightness(
    tmp_path: Path, mode: str, value: float, name: str, expected: int
) -> None:
    images = decode_images([saved(tmp_path, grey(mode, value), name)])
    assert images.shape == (4, 6, 1)
    assert set(values(images).flatten()) == {expected}


def with_palette() -> Image.Image:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, *RED])
    return image


@pytest.mark.parametrize(
    ("image", "name", "expected"),
    [
        (Image.new("RGBA", (4, 4), (*RED, 255)), "x.png", RED),
        (Image.new("RGBA", (4, 4), (*RED, 0)), "x.png", WHITE),
        (Image.new("LA", (4, 4), (0, 0)), "x.png", (255,)),
        (with_palette(), "x.png", RED),
        (with_palette(), "x.gif", RED),
        (Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "x.tiff", (255, 0, 0)),
        (Image.new("1", (4, 4), 1), "x.png", (255,)),
    ],
)
def test_every_mode_becomes_colour_or_grey_and_transparent_is_white(
    tmp_path: Path, image: Image.Image, name: str, expected: tuple[int, ...]
) -> None:
    images = decode_images([saved(tmp_path, image, name)])
    assert tuple(values(images)[1, 1]) == expected


def test_a_transparent_colour_of_a_palette_is_white(tmp_path: Path) -> None:
    file = saved(tmp_path, with_palette(), transparency=1)
    assert tuple(values(decode_images([file]))[0, 0]) == WHITE


def test_one_coloured_image_makes_all_coloured(tmp_path: Path) -> None:
    files = [saved(tmp_path, Image.new("L", (4, 4), 7), f"{i}.png") for i in range(3)]
    files.append(saved(tmp_path, Image.new("RGB", (4, 4), RED), "3.png"))
    images = decode_images(files)
    assert images.shape == (4, 4, 3)
    assert [tuple(values(images, i)[0, 0]) for i in (0, 3)] == [(7, 7, 7), RED]
    assert images.notes == ("3 of 4 images are grey and were taken as coloured ones.",)


def test_colours_that_a_model_does_not_take_are_said_to_be_lost(tmp_path: Path) -> None:
    images = decode_images([saved(tmp_path, Image.new("RGB", (4, 4), WHITE))], channels=1)
    assert set(values(images).flatten()) == {255}
    assert images.notes == ("1 of 1 images lost their colours: the model takes grey.",)


def test_the_most_frequent_size_is_that_of_all(tmp_path: Path) -> None:
    sizes = [(1, 1), (6, 4), (6, 4)]
    files = [saved(tmp_path, Image.new("L", s), f"{i}.png") for i, s in enumerate(sizes)]
    images = decode_images(files)
    assert images.shape == (4, 6, 1)
    assert images.notes == ("1 of 3 images were resized to 4 x 6 pixels.",)


def test_a_wanted_size_need_not_be_square(tmp_path: Path) -> None:
    left_dark = Image.fromarray(np.array([[0, 255]] * 4, np.uint8))
    images = decode_images([saved(tmp_path, left_dark)], size=(2, 8), channels=3)
    assert images.shape == (2, 8, 3)
    assert values(images)[0, 0, 0] < 10
    assert values(images)[1, 7, 2] > 245


@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.tiff"])
def test_an_image_is_turned_as_its_exif_says(tmp_path: Path, name: str) -> None:
    pixels = np.zeros((8, 16), np.uint8)
    pixels[:, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn to the right: the left half comes on top
    images = decode_images([saved(tmp_path, Image.fromarray(pixels), name, exif=exif)])
    assert images.shape == (16, 8, 1)
    assert values(images)[2, 4, 0] > 245
    assert values(images)[13, 4, 0] < 10


def huge(side: int) -> bytes:
    """A PNG of a few bytes whose header claims side x side pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    parts = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def cut(folder: Path) -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    return saved(folder, Image.fromarray(noise), "whole.png").read_bytes()[:2000]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda folder: b"", "is not an image, whatever its name says"),
        (lambda folder: b"<html>not found</html>", "is not an image"),
        (cut, "cannot be read as an image: "),
        (lambda folder: huge(30_000), "cannot be read as an image: .*decompression bomb"),
        (lambda folder: huge(8_000), "has 8,000 x 8,000 pixels, and 50,000,000 are allowed"),
        (lambda folder: huge(0), r"x\.png"),
    ],
)
def test_a_file_that_cannot_be_decoded_is_named(tmp_path: Path, content, reason: str) -> None:
    file = tmp_path / "x.png"
    file.write_bytes(content(tmp_path))
    with pytest.raises(DataError, match=reason) as found:
        decode_images([file])
    assert str(file) in str(found.value)
    assert "\n" not in str(found.value)


def test_images_that_do_not_fit_the_memory_are_refused_before_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpo_pipeline.data.tables.images.MAX_BYTES", 4 * 2**30)
    file = saved(tmp_path, Image.new("L", (4, 4)))
    with pytest.raises(DataError, match=r"take 8 GiB, and 4 are allowed; set task.config.image_s"):
        decode_images([file] * 2048, size=(2048, 2048), channels=1)


def test_pixels_that_are_already_decoded_are_fitted_too() -> None:
    images = fit_pixels([bytes([100] * 4)], (2, 2, 1), size=(4, 4), channels=3)
    assert images.shape == (4, 4, 3)
    assert set(values(images).flatten()) == {100}
    assert images.notes == ("1 of 1 images were resized to 4 x 4 pixels.",)


def columns_of_images(folder: Path) -> Path:
    colours = [0, 60, 120, 180, 240]
    pictures = [saved(folder, Image.new("L", (6, 4), c), f"{c}.png").read_bytes() for c in colours]
    pictures[3] = b"no image"
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["dark", "light"])}
    )
    rows = {"image": [{"bytes": p, "path": None} for p in pictures], "label": [0, 0, 0, 1, 1]}
    datasets.Dataset.from_dict(rows, features).save_to_disk(str(folder / "saved"))
    return folder / "saved"


def test_a_column_of_images_is_decoded_and_a_bad_one_is_named(tmp_path: Path) -> None:
    content = {
        "kind": "image-classification",
        "model": "m",
        "data": str(columns_of_images(tmp_path)),
        "from_scratch": True,
    }
    with pytest.raises(DataError, match="image 4 of the train rows is not an image, whatever"):
        read_tables(Task.model_validate(content))
    found = read_tables(Task.model_validate({**content, "max_bad_rows": 1}))
    assert found.shape == (4, 6, 1)
    assert [pixels[0] for pixels in found.tables["train"]["input"]] == [0, 60, 120, 240]
    assert list(found.tables["train"]["label"]) == ["dark", "dark", "dark", "light"]
    assert found.tallies["train"].unreadable == 1
    assert found.notes[0].startswith("1 rows could not be read and are left out: image 4 of the")


def test_a_limit_of_bad_files_lets_the_others_be_read(tmp_path: Path) -> None:
    for label, colour in (("dark", 0), ("light", 255)):
        (tmp_path / label).mkdir()
        for i in range(3):
            picture = Image.new("L", (4, 4), abs(colour - i))
            saved(tmp_path / label, picture, f"{i}.png")
    (tmp_path / "dark" / "1.png").write_bytes(b"no image")
    content = {"kind": "image-classification", "model": "m", "data": str(tmp_path)}
    task = Task.model_validate({**content, "from_scratch": True, "max_bad_rows": 1})
    found = read_tables(task)
    assert list(found.tables["train"]["label"]) == ["dark", "dark", "light", "light", "light"]
    assert (found.tallies["train"].read, found.tallies["train"].unreadable) == (6, 1)
    assert "1.png is not an image" in found.notes[0]
