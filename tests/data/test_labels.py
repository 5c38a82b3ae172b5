"""Labels follow one rule in all formats, and what is not a class is refused."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hpo_pipeline.data.cleaning.labels import check_classes, label_text
from hpo_pipeline.data.sources import read_tables
from hpo_pipeline.data.tables.by_split import Tables
from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.task import Task


def read(path: Path, **columns: str) -> Tables:
    task = {"kind": "text-classification", "model": "m", "data": str(path), "columns": columns}
    return read_tables(Task.model_validate(task))


def json_lines(path: Path, labels: list[Any], text: str = "some text") -> Path:
    path.write_text("".join(json.dumps({"text": text, "label": x}) + "\n" for x in labels))
    return path


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None), (float("nan"), None), ("", None), (" \t\r\n", None),
        ("up", "up"), (" up\u00a0", "up"), ("cafe\u0301", "caf\u00e9"),
        (1, "1"), (1.0, "1"), ("1.0", "1"), ("-0.50", "-0.5"), (Decimal("2.50"), "2.5"),
        ("01", "01"), ("v1.0", "v1.0"), ("1.0.0", "1.0.0"), ("100", "100"), (2.5, "2.5"),
        (True, "true"), ("False", "false"), ("TRUE", "true"), ("Mostly True", "Mostly True"),
        ("up\ud83d", "up\ufffd"), (10**20, "1" + "0" * 20),
    ],
)  # fmt: skip
def test_a_label_is_written_in_one_way(value: object, text: str | None) -> None:
    assert label_text(value) == text


@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.json", "x.jsonl", "x.parquet"])
def test_all_formats_give_the_same_labels(tmp_path: Path, name: str) -> None:
    labels = [" up", "up ", "down", "", "  ", "up"]
    frame = pd.DataFrame({"text": [f"text {i}" for i in range(6)], "label": labels})
    path = tmp_path / name
    match path.suffix:
        case ".json" | ".jsonl":
            frame.to_json(path, orient="records", lines=name == "x.jsonl")
        case ".parquet":
            frame.to_parquet(path)
        case suffix:
            frame.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    tables = read(path)
    assert list(tables.tables["train"]["label"]) == ["up", "up", "down", "up"]
    assert tables.tallies["train"].without_label == 2
    assert tables.notes == (
        "Labels that are written differently count as one: ' up' and 'up' and 'up '.",
    )


def test_numbers_are_the_same_labels_in_files_of_different_formats(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\na,0\nb,1\n")
    json_lines(tmp_path / "test.jsonl", [0.0, 1.0, True])
    tables = read(tmp_path)
    assert set(tables.tables["train"]["label"]) == {"0", "1"}
    assert list(tables.tables["test"]["label"]) == ["0", "1", "true"]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a", ["a", "b"]], r"x\.jsonl, line 2: the label is a list .*one label a row is needed"),
        ([{"name": "a"}], r"line 1: the label is an object .*a label is text or a number"),
        ([i / 7 for i in range(60)], "holds scores, not classes: 60 different numbers"),
        ([f"case-{i}" for i in range(900)], r"has 900 different labels in 900 rows.*and 895 more"),
    ],
)
def test_what_is_not_a_class_is_refused(tmp_path: Path, labels: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as found:
        read(json_lines(tmp_path / "x.jsonl", labels))
    assert len(str(found.value)) < 400


def test_half_points_of_a_few_classes_are_classes() -> None:
    check_classes(["0.5", "1", "1.5", "2"], 80, "stars")
    check_classes([f"word {i}" for i in range(60)], 200, "topic")


def test_labels_that_differ_in_case_only_are_mentioned(tmp_path: Path) -> None:
    notes = read(json_lines(tmp_path / "x.jsonl", ["Up", "up", "down"])).notes
    assert notes == ("Labels that differ in case only are different labels: 'Up', 'up'.",)


def test_half_a_character_is_replaced_and_counted(tmp_path: Path) -> None:
    tables = read(json_lines(tmp_path / "x.jsonl", ["a", "b"], text="so sad \ud83d"))
    assert list(tables.tables["train"]["input"]) == ["so sad \ufffd"] * 2
    assert tables.tallies["train"].repaired == 2


def class_labels(path: Path, labels: list[Any], names: Any = ("bad", "good")) -> Path:
    feature = {"names": names if isinstance(names, str) else list(names), "_type": "ClassLabel"}
    noted = {"info": {"features": {"label": feature}}}
    table = pa.table({"text": [f"text {i}" for i in range(len(labels))], "label": labels})
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(noted)}), path)
    return path


def test_class_names_in_parquet_are_the_labels(tmp_path: Path) -> None:
    found = read(class_labels(tmp_path / "x.parquet", [0, 1, -1, None, 1]))
    assert list(found.tables["train"]["label"]) == ["bad", "good", "good"]
    assert found.tallies["train"].without_label == 2
    assert found.notes == ()


def test_a_class_without_a_name_is_refused(tmp_path: Path) -> None:
    path = class_labels(tmp_path / "x.parquet", [0, 5])
    with pytest.raises(DataError, match=r"row 2: class 5 has no name; the file names 2: 'bad'"):
        read(path)


def test_names_that_are_no_list_are_not_taken(tmp_path: Path) -> None:
    found = read(class_labels(tmp_path / "x.parquet", [0, 1], names="bad"))
    assert list(found.tables["train"]["label"]) == ["0", "1"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (("question", "sentence"), r"several columns of text \(sentence, question\)"),
        (
            ("text", "sentence"),
            r"several columns of text \(text, sentence\), and a trial reads one",
        ),
        (("premise", "hypothesis"), r"no column 'text'; it has premise, hypothesis, label"),
    ],
)
def test_pairs_of_texts_are_not_halved(
    tmp_path: Path, columns: tuple[str, str], message: str
) -> None:
    frame = pd.DataFrame({columns[0]: ["a", "b"], columns[1]: ["c", "d"], "label": ["x", "y"]})
    frame.to_csv(tmp_path / "x.csv", index=False)
    with pytest.raises(DataError, match=message):
        read(tmp_path / "x.csv")
    found = read(tmp_path / "x.csv", input=columns[1])
    assert list(found.tables["train"]["input"]) == ["c", "d"]
    assert found.notes == (f"Columns that are not used: {columns[0]}.",)
