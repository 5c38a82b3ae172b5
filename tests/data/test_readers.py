"""Reading data: every format gives the same table, and what cannot be read is said."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from hpo_pipeline.data.cleaning.tally import Tally
from hpo_pipeline.data.sources import read_tables
from hpo_pipeline.data.tables.by_split import Tables
from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.task import Task

ROWS = pd.DataFrame({"text": ["good day", "bad day", "so, so"], "label": ["yes", "no", "no"]})


def read(data: object, kind: str = "text-classification", **columns: str) -> Tables:
    content = {"kind": kind, "model": "m", "data": str(data), "columns": columns}
    content["from_scratch"] = kind == "image-classification"  # else the model decides their size
    return read_tables(Task.model_validate(content))


def rows(tables: Tables, split: str = "train") -> list[tuple[Any, str]]:
    table = tables.tables[split]
    return list(zip(table["input"], table["label"], strict=True))


def write(path: Path, frame: pd.DataFrame = ROWS) -> Path:
    match path.suffix:
        case ".csv":
            frame.to_csv(path, index=False)
        case ".json":
            frame.to_json(path, orient="records")
        case ".jsonl":
            frame.to_json(path, orient="records", lines=True)
        case ".parquet":
            frame.to_parquet(path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl", ".parquet"])
def test_every_format_gives_the_same_rows(tmp_path: Path, suffix: str) -> None:
    tables = read(write(tmp_path / f"x{suffix}"))
    assert rows(tables) == [("good day", "yes"), ("bad day", "no"), ("so, so", "no")]
    assert list(tables.tables) == ["train"]


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl", ".parquet"])
def test_whole_numbers_are_labels_written_as_such(tmp_path: Path, suffix: str) -> None:
    labels = [0, None, 12] if suffix != ".csv" else ["0", "", "12"]
    frame = pd.DataFrame({"text": ["a b", "c", "d"], "label": labels})
    assert rows(read(write(tmp_path / f"x{suffix}", frame))) == [("a b", "0"), ("d", "12")]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_words_that_pandas_takes_for_nothing_are_words(tmp_path: Path, suffix: str) -> None:
    frame = pd.DataFrame({"text": ["None", "NA", "nan", "1"], "label": ["null", "NA", "x", "01"]})
    found = rows(read(write(tmp_path / f"x{suffix}", frame)))
    assert found == [("None", "null"), ("NA", "NA"), ("nan", "x"), ("1", "01")]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_rows_without_text_or_label_are_left_out_and_counted(tmp_path: Path, suffix: str) -> None:
    frame = pd.DataFrame({"text": ["a", None, "  ", "d"], "label": ["x", "y", "z", None]})
    tables = read(write(tmp_path / f"x{suffix}", frame))
    assert rows(tables) == [("a", "x")]
    assert tables.tallies["train"] == Tally(read=4, without_input=2, without_label=1)


def test_the_usual_columns_are_found_and_others_can_be_named(tmp_path: Path) -> None:
    frame = ROWS.rename(columns={"text": "sentence"}).assign(review="r", stars=[1, 2, 3])
    path = write(tmp_path / "x.csv", frame)
    assert rows(read(path))[0] == ("good day", "yes")
    assert rows(read(path, input="review", label="stars"))[0] == ("r", "1")


def test_a_directory_may_bring_its_splits(tmp_path: Path) -> None:
    write(tmp_path / "train.csv")
    write(tmp_path / "test.jsonl", ROWS.head(1))
    (tmp_path / "README.md").write_text("read me")
    tables = read(tmp_path)
    assert {split: len(table) for split, table in tables.tables.items()} == {"train": 3, "test": 1}


def test_a_directory_may_hold_one_file(tmp_path: Path) -> None:
    write(tmp_path / "reviews.parquet")
    assert len(rows(read(tmp_path))) == 3


def test_a_uri_is_read(tmp_path: Path) -> None:
    assert len(rows(read(f"file://{write(tmp_path / 'x.csv')}"))) == 3
    with pytest.raises(DataError, match=r"x\.csv cannot be read"):
        read("nothing://bucket/x.csv")


def test_the_hash_follows_the_content(tmp_path: Path) -> None:
    one, same = read(write(tmp_path / "a.csv")), read(write(tmp_path / "b.csv"))
    other = read(write(tmp_path / "c.csv", ROWS.head(2)))
    assert one.sha256 == same.sha256 != other.sha256


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", "words,label\na,b\n", r"columns\.input: .* no column 'text'; it has words, lab"),
        ("x.csv", "text,class\na,b\n", r"columns\.label: .* no column 'label'; it has text, cl"),
        (
            "x.jsonl",
            '{"text": 3, "label": 1}',
            "line 1: column 'text' holds '3' .int., which is not",
        ),
        ("x.csv", "", "cannot be read: it is empty; the first line must name"),
        ("x.csv", b"text,label\n\x81\xfe,1\n", "cannot be read: line 2 is not cp1252 text"),
        ("x.csv", 'text,label\n"a,b\n', "cannot be read"),
        ("x.jsonl", "{", "cannot be read"),
        ("x.json", "[1, 2", "cannot be read"),
        ("x.json", "[1, 2]", "cannot be read|has no column"),
        ("x.json", "[[1], [2]]", "cannot be read|has no column"),
        ("x.json", "3", "cannot be read|has no column"),
        ("x.parquet", "not parquet", "cannot be read"),
        ("x.xlsx", "text\tlabel\n", r"'.xlsx' is none of .csv, .tsv, .json, .jsonl, .txt"),
    ],
)
def test_a_file_that_holds_no_such_data_is_refused(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DataError, match=message):
        read(tmp_path / name)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file or directory .*none\.csv"):
        read(tmp_path / "none.csv")
    with pytest.raises(DataError, match=r"must hold train.*; found none"):
        read(tmp_path)
    write(tmp_path / "a.csv")
    write(tmp_path / "b.csv")
    with pytest.raises(DataError, match=r"must hold train.*; found a\.csv, b\.csv"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["someone/reviews", "no such name", "a/b/c"])
def test_a_hub_id_without_a_network_is_refused(name: str) -> None:
    with pytest.raises(
        DataError, match=f"'{name}' is not an asset .*could not be loaded from the hub"
    ):
        read(name)


def test_the_kind_of_data_must_fit_the_kind_of_task(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="digits holds images, which text-classification"):
        read("digits")
    with pytest.raises(DataError, match="image-classification reads a folder with a"):
        read(write(tmp_path / "x.csv"), kind="image-classification")
    with pytest.raises(DataError, match="'someone/images' is not an asset"):
        read("someone/images", kind="image-classification")


def test_the_digits_are_images_of_one_byte_a_pixel() -> None:
    tables = read("digits", kind="image-classification")
    assert tables.shape == (8, 8, 1)
    assert len(tables.tables["train"]) == 1797
    assert {len(pixels) for pixels, _ in rows(tables)} == {64}
    assert {label for _, label in rows(tables)} == set("0123456789")


def image(colour: int, size: tuple[int, int] = (4, 3)) -> bytes:
    pillow = pytest.importorskip("PIL.Image", reason="pillow is not installed")
    stream = io.BytesIO()
    pillow.new("L", size, colour).save(stream, "png")
    return bytes(stream.getvalue())


def test_a_folder_of_images_per_label_is_read(tmp_path: Path) -> None:
    for label, colour in (("dark", 0), ("light", 255)):
        (tmp_path / label).mkdir()
        (tmp_path / label / "a.png").write_bytes(image(colour))
    tables = read(tmp_path, kind="image-classification")
    assert tables.shape == (3, 4, 1)
    assert rows(tables) == [(bytes(12), "dark"), (b"\xff" * 12, "light")]


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "dark").mkdir()
    (tmp_path / "dark" / "a.png").write_bytes(image(0))
    (tmp_path / "dark" / "b.png").write_bytes(image(0)[:20])
    with pytest.raises(DataError, match=r"b\.png (cannot be read|is not an image)"):
        read(tmp_path, kind="image-classification")


def test_a_directory_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no LABEL/IMAGE files|needs the package pillow"):
        read(tmp_path, kind="image-classification")
