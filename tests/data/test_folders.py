"""Folders: which file is which split; nothing is taken or passed over in silence."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest

from hpo_pipeline.data.sources import read_tables
from hpo_pipeline.data.tables.by_split import Tables
from hpo_pipeline.data.tables.opening import shown_uri
from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.task import Task


def read(data: Path | str, kind: str = "text-classification") -> Tables:
    content: dict[str, object] = {"kind": kind, "model": "m", "data": str(data)}
    content["from_scratch"] = kind == "image-classification"  # else the model decides their size
    return read_tables(Task.model_validate(content))


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        frame = pd.DataFrame({"text": [f"{name} 1", f"{name} 2"], "label": ["a", "b"]})
        if path.suffix == ".parquet":
            frame.to_parquet(path)
        else:
            path.write_text(frame.to_csv(index=False))


def inputs(tables: Tables) -> dict[str, list[str]]:
    return {split: list(table["input"]) for split, table in tables.tables.items()}


@pytest.mark.parametrize("name", ["dev.csv", "valid.csv", "val.csv", "Validation.CSV"])
def test_the_usual_names_of_validation_rows_are_known(tmp_path: Path, name: str) -> None:
    write(tmp_path, "train.csv", "test.csv", name)
    assert list(inputs(read(tmp_path))) == ["train", "validation", "test"]
    assert inputs(read(tmp_path))["validation"] == [f"{name} 1", f"{name} 2"]


def test_parts_named_as_the_hub_names_them_are_one_split(tmp_path: Path) -> None:
    parts = [f"train-0000{i}-of-00002.parquet" for i in range(2)]
    write(tmp_path, *parts, "test-00000-of-00001-0123456789abcdef.parquet")
    found = inputs(read(tmp_path))
    assert found["train"] == [f"{part} {i}" for part in parts for i in (1, 2)]
    assert len(found["test"]) == 2


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("train.csv", "train.jsonl"), r"train\.csv and train\.jsonl could both be the train rows"),
        (
            ("train.csv", "dev.csv", "val.csv"),
            r"dev\.csv and val\.csv could both be the validation",
        ),
        (("train.csv", "train-00000-of-00001.parquet"), "could both be the train rows; keep one"),
        (("train-00000-of-00002.parquet",), r"1 of the 2 parts of the train rows; add the others"),
        (("test.csv",), r"must hold train\.\*.*found test\.csv"),
        (("data/train.csv",), r"found none; there are some in data/, which task\.data can name"),
    ],
)
def test_what_is_ambiguous_or_incomplete_is_refused(
    tmp_path: Path, names: tuple[str, ...], message: str
) -> None:
    write(tmp_path, *names)
    with pytest.raises(DataError, match=message):
        read(tmp_path)


def test_a_folder_without_data_that_hides_an_asset_says_so(tmp_path: Path) -> None:
    write(tmp_path / "tweets", "model/train.csv")
    with pytest.raises(DataError, match="it hides the asset tweets: rename the folder, or move"):
        read(tmp_path / "tweets")


def test_files_that_nothing_is_read_from_are_named(tmp_path: Path) -> None:
    write(tmp_path, "train.csv", "old.csv", ".hidden.csv")
    for name in ("README.md", "LICENSE", "notes.docx"):
        (tmp_path / name).write_text("x")
    tables = read(tmp_path)
    assert tables.notes == ("Passed over: notes.docx, old.csv.",)
    assert tables.source == f"{tmp_path.name}: train.csv"


def test_the_hash_knows_which_split_a_file_is(tmp_path: Path) -> None:
    for name, second in (("one", "validation.csv"), ("other", "test.csv")):
        write(tmp_path / name, "train.csv")
        (tmp_path / name / second).write_text("text,label\nx,a\n")
    assert read(tmp_path / "one").sha256 != read(tmp_path / "other").sha256


def test_the_current_folder_has_no_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "reviews", "train.csv")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="'reviews' is in the current folder, but not beside the"):
        read("reviews")


def test_neither_password_nor_signature_of_a_uri_is_shown() -> None:
    shown = shown_uri("https://me:secret@host/data/x.csv?signature=abc")
    assert shown == "https://host/data/x.csv"
    with pytest.raises(DataError, match=r"nothing://host/x\.csv cannot be read") as found:
        read("nothing://host/x.csv?signature=abc")
    assert "abc" not in str(found.value)


def image(folder: Path, *names: str, kind: str = "") -> None:
    pillow = pytest.importorskip("PIL.Image", reason="pillow is not installed")
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = io.BytesIO()
        pillow.new("L", (4, 4), number).save(stream, kind or "png")
        path.write_bytes(stream.getvalue())


def images(folder: Path) -> Tables:
    return read(folder, kind="image-classification")


def test_hidden_files_and_folders_are_no_images_and_no_labels(tmp_path: Path) -> None:
    image(tmp_path, "cat/1.png", "dog/1.png", ".ipynb_checkpoints/1.png", "__MACOSX/1.png")
    (tmp_path / "cat" / "._1.png").write_bytes(b"no image")
    found = images(tmp_path)
    assert list(found.tables["train"]["label"]) == ["cat", "dog"]
    assert found.notes == ()


def test_suffixes_of_images_are_known_in_any_case(tmp_path: Path) -> None:
    image(tmp_path, "cat/1.JPG", kind="jpeg")
    image(tmp_path, "dog/1.gif", kind="gif")
    image(tmp_path, "fox/1.tiff", "fox/2.TIF", kind="tiff")
    (tmp_path / "fox" / "notes.txt").write_text("x")
    found = images(tmp_path)
    assert list(found.tables["train"]["label"]) == ["cat", "dog", "fox", "fox"]
    assert found.notes == ("Passed over: 1 .txt.",)


def test_a_label_whose_images_cannot_be_read_does_not_vanish(tmp_path: Path) -> None:
    image(tmp_path, "cat/1.png", "dog/1.png")
    (tmp_path / "fox").mkdir()
    (tmp_path / "fox" / "1.heic").write_bytes(b"x")
    with pytest.raises(DataError, match=r"fox has no image that can be read, only \.heic; conv"):
        images(tmp_path)


def test_folders_of_splits_are_not_labels(tmp_path: Path) -> None:
    image(tmp_path, "train/1.png", "test/1.png")
    with pytest.raises(DataError, match=r"test is the name of a split, not of a label; put its"):
        images(tmp_path)


def test_folders_of_splits_may_hold_folders_of_labels(tmp_path: Path) -> None:
    image(tmp_path, "train/cat/1.png", "train/dog/1.png", "val/cat/1.png")
    found = images(tmp_path).tables
    assert {split: list(table["label"]) for split, table in found.items()} == {
        "train": ["cat", "dog"],
        "validation": ["cat"],
    }


def test_a_train_may_be_a_kind_of_vehicle(tmp_path: Path) -> None:
    image(tmp_path, "bus/1.png", "car/1.png", "train/1.png")
    assert list(images(tmp_path).tables["train"]["label"]) == ["bus", "car", "train"]
