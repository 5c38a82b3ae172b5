"""Folders of IDX files, as MNIST and Fashion-MNIST come: what is read, and what is refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from hpo_pipeline.data.progress import Progress
from hpo_pipeline.data.tables.idx_folder import is_idx, read_idx
from hpo_pipeline.errors import DataError

PIXELS = [bytes(range(i, i + 6)) for i in range(4)]


def idx(*sizes: int, content: bytes, kind: int = 8) -> bytes:
    """Return a file of the format."""
    return bytes([0, 0, kind, len(sizes)]) + b"".join(n.to_bytes(4, "big") for n in sizes) + content


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four training images of 2 x 3 pixels, packed, and one test image."""
    images, labels = idx(4, 2, 3, content=b"".join(PIXELS)), idx(4, content=bytes([7, 0, 7, 1]))
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    (tmp_path / "t10k-images.idx3-ubyte").write_bytes(idx(1, 2, 3, content=PIXELS[0]))
    (tmp_path / "t10k-labels.idx1-ubyte").write_bytes(idx(1, content=bytes([1])))
    return tmp_path


def test_images_and_labels_belong_together(folder: Path) -> None:
    assert is_idx(folder)
    found = read_idx(folder, Progress())
    assert found.shape == (2, 3, 1)
    assert list(found.tables) == ["train", "test"]
    assert list(found.tables["train"]["input"]) == PIXELS
    assert list(found.tables["train"]["label"]) == ["7", "0", "7", "1"]
    assert list(found.tables["test"]["label"]) == ["1"]
    assert found.tallies["train"].read == 4


def test_colours_are_a_fourth_dimension(folder: Path) -> None:
    for name in ("train-images-idx3-ubyte.gz", "t10k-images.idx3-ubyte"):
        (folder / name).unlink()
    (folder / "train-images-idx4-ubyte").write_bytes(idx(4, 1, 2, 3, content=b"".join(PIXELS)))
    (folder / "t10k-images-idx4-ubyte").write_bytes(idx(1, 1, 2, 3, content=PIXELS[0]))
    assert read_idx(folder, Progress()).shape == (1, 2, 3)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("train-labels-idx1-ubyte", idx(4, content=b"1234"), "both train-labels-idx1-ubyte and"),
        ("part-images-idx3-ubyte", b"", "is of no split"),
        ("val-images-idx3-ubyte", b"", "has no file of labels of validation"),
        ("t10k-labels.idx1-ubyte", idx(2, content=b"12"), "1 images and .* 2 labels"),
        ("t10k-labels.idx1-ubyte", idx(2, content=b"1"), "not as long as its header says"),
        ("t10k-labels.idx1-ubyte", idx(1, content=b"1", kind=13), "no IDX file of unsigned bytes"),
        ("t10k-labels.idx1-ubyte", b"\0\0", "no IDX file"),
        ("t10k-images.idx3-ubyte", idx(1, 3, 2, content=PIXELS[0]), "train 2x3x1, test 3x2x1"),
        ("t10k-images.idx3-ubyte", idx(2**31, 2**31, 3, content=b""), "not as long as its header"),
        ("train-images-idx3-ubyte.gz", b"\x1f\x8b", "cannot be read"),
    ],
)
def test_what_does_not_fit_is_said(folder: Path, name: str, content: bytes, words: str) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_idx(folder, Progress())
