"""Rows of every form that a kind of task may ask for: pairs, lists, numbers, tags, messages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from hpo_pipeline.data.cleaning.values import Rules
from hpo_pipeline.data.progress import Progress
from hpo_pipeline.data.readers.source_file import BadRows, SourceFile
from hpo_pipeline.data.splitting.splits import Splits, split
from hpo_pipeline.data.tables.by_split import Tables, tables_from_files
from hpo_pipeline.data.tables.hub import tables_of
from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.data_fields import Columns, Rows
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.tasks.kind import Form


def rules(form: Form, columns: Columns, limit: int = 0) -> Rules:
    return Rules(form, columns.separator, BadRows(limit), Progress())


def read(path: Path, form: Form, paragraphs: bool = False, limit: int = 0, **named: Any) -> Tables:
    columns = Columns.model_validate(named)
    found = rules(form, columns, limit)
    file = SourceFile(path, path.name, paragraphs=paragraphs, bad_rows=found.bad_rows)
    return tables_from_files(columns, {"train": [file]}, found)


def lines(path: Path, *objects: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in objects), "utf-8")
    return path


def rows(tables: Tables) -> list[tuple[Any, Any]]:
    table = tables.tables["train"]
    return list(zip(table["input"], table["label"], strict=True))


def test_pairs_are_two_columns_that_are_named_or_usual(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("premise,hypothesis,label\na,b,yes\nc,,no\nd,e,no\n")
    expected = [(["a", "b"], "yes"), (["d", "e"], "no")]
    usual = read(tmp_path / "x.csv", Form("pair"))
    assert rows(usual) == expected
    assert usual.tallies["train"].without_input == 1
    turned = read(tmp_path / "x.csv", Form("pair"), input=["hypothesis", "premise"])
    assert rows(turned)[0] == (["b", "a"], "yes")
    pairs = lines(tmp_path / "x.jsonl", {"pair": ["a", "b"], "label": 1})
    assert rows(read(pairs, Form("pair"))) == [(["a", "b"], "1")]
    (tmp_path / "y.csv").write_text("left,right,label\na,b,yes\n")
    with pytest.raises(DataError, match="no usual pair of texts; name the two columns, such as"):
        read(tmp_path / "y.csv", Form("pair"))


def test_several_labels_are_a_list_columns_or_a_text_with_a_named_separator(tmp_path) -> None:
    form = Form("text", "classes")
    listed = lines(
        tmp_path / "x.jsonl",
        {"text": "a", "labels": ["x", "y", "x"]},
        {"text": "b", "labels": []},
        {"text": "c", "labels": None},
    )
    assert rows(read(listed, form)) == [("a", ["x", "y"]), ("b", [])]
    (tmp_path / "x.csv").write_text("text,label\na,x;y\nb,y\n")
    assert rows(read(tmp_path / "x.csv", form)) == [("a", ["x;y"]), ("b", ["y"])]
    split_up = read(tmp_path / "x.csv", form, separator=";")
    assert rows(split_up) == [("a", ["x", "y"]), ("b", ["y"])]
    (tmp_path / "y.csv").write_text("text,rude,loud\na,1,0\nb,1.0,true\nc,0,\n")
    columns = read(tmp_path / "y.csv", form, label=["rude", "loud"])
    assert rows(columns) == [("a", ["rude"]), ("b", ["rude", "loud"]), ("c", [])]
    (tmp_path / "y.csv").write_text("text,rude,loud\na,1,maybe\n")
    with pytest.raises(DataError, match=r"line 2: a column of a label holds 'maybe'"):
        read(tmp_path / "y.csv", form, label=["rude", "loud"])


def test_numbers_are_read_from_text_too_and_blank_ones_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("text,score\na,1\nb,-2.5e1\nc,\nd,nan\n")
    tables = read(tmp_path / "x.csv", Form("text", "number"))
    assert rows(tables) == [("a", 1.0), ("b", -25.0)]
    assert tables.tallies["train"].without_label == 2
    mixed = lines(tmp_path / "x.jsonl", {"text": "a", "label": 1}, {"text": "b", "label": "high"})
    with pytest.raises(DataError, match=r"x\.jsonl, line 2: the label is 'high' \(str\); a number"):
        read(mixed, Form("text", "number"))


def test_tags_are_words_one_a_line_or_lists_with_names(tmp_path: Path) -> None:
    form = Form("words", "tags")
    (tmp_path / "x.conll").write_text(
        "-DOCSTART- -X- O O\n\nAnna NNP B-NP B-PER\nsings VBZ B-VP O\n\nBonn NNP B-NP B-LOC\n"
    )
    expected = [(["Anna", "sings"], ["B-PER", "O"]), (["Bonn"], ["B-LOC"])]
    assert rows(read(tmp_path / "x.conll", form)) == expected
    (tmp_path / "x.txt").write_text("# id = 1\nAnna\tB-PER\nsings\tO\n\n\nBonn\tB-LOC\n")
    assert rows(read(tmp_path / "x.txt", form)) == expected
    (tmp_path / "x.txt").write_text("Anna B-PER\nsings\n")
    with pytest.raises(DataError, match=r"x\.txt cannot be read: line 2: a word without a tag"):
        read(tmp_path / "x.txt", form)
    uneven = lines(tmp_path / "x.jsonl", {"tokens": ["a", "b"], "ner_tags": ["O"]})
    with pytest.raises(DataError, match=r"x\.jsonl, line 1: 2 words, 1 tags"):
        read(uneven, form)


def test_numbers_of_tags_and_of_several_labels_give_their_names() -> None:
    names = datasets.ClassLabel(names=["O", "B-PER"])
    features = datasets.Features(
        {"tokens": datasets.List(datasets.Value("string")), "ner_tags": datasets.List(names)}
    )
    found = datasets.Dataset.from_dict(
        {"tokens": [["Anna", "sings"]], "ner_tags": [[1, 0]]}, features
    )
    task = Task(kind="text-classification", model="m", data="d")
    tables = tables_of(task, rules(Form("words", "tags"), Columns()), found, "hub x")
    assert rows(tables) == [(["Anna", "sings"], ["B-PER", "O"])]


def test_texts_are_learnt_from_lines_paragraphs_prompts_or_messages(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("one\ntwo \n\nthree\n")
    alone = Form("text", None)
    assert list(read(tmp_path / "x.txt", alone).tables["train"]["input"]) == ["one", "two", "three"]
    parts = read(tmp_path / "x.txt", alone, paragraphs=True).tables["train"]
    assert list(parts["input"]) == ["one\ntwo", "three"]
    assert parts.names == ["input"]
    asked = lines(tmp_path / "x.jsonl", {"prompt": "1 + 1?", "completion": "2"})
    assert rows(read(asked, Form("text", "text"))) == [("1 + 1?", "2")]
    message = {"role": "user", "content": "hi"}
    said = lines(
        tmp_path / "y.jsonl",
        {"messages": [message]},
        {"messages": [{"from": "human", "value": "hi"}]},
    )
    found = read(said, Form("messages", None)).tables["train"]
    assert list(found["input"]) == [[message], [message]]
    bad = lines(tmp_path / "z.jsonl", {"messages": [{"role": "user"}]})
    with pytest.raises(DataError, match=r"line 1: column 'messages' holds .* role and content"):
        read(bad, Form("messages", None))


def cut(path: Path, form: Form, share: float = 0.25, **columns: Any) -> Splits:
    tables = read(path, form, **columns)
    return split(
        tables.tables, Rows(test=share, validation=share), tables.tallies, form=tables.form
    )


def test_rows_of_a_group_are_never_in_two_splits(tmp_path: Path) -> None:
    content = "".join(f"text {i},{'ab'[i % 2]},user {i * 7 % 13}\n" for i in range(130))
    (tmp_path / "x.csv").write_text(f"text,label,user\n{content}text x,a,\n")
    found = cut(tmp_path / "x.csv", Form(), group="user")
    users = {name: set(part["group"]) for name, part in found.tables.items()}
    assert not users["train"] & users["test"]
    assert not users["train"] & users["validation"]
    assert not users["validation"] & users["test"]
    assert {name: len(part) for name, part in found.tables.items()}["test"] in range(23, 34)
    assert sum(len(part) for part in found.tables.values()) == 131
    again = cut(tmp_path / "x.csv", Form(), group="user")
    assert list(again.tables["test"]["input"]) == list(found.tables["test"]["input"])


def test_groups_hold_across_splits_that_come_with_the_data(tmp_path: Path) -> None:
    columns = Columns(group="user")
    found = rules(Form(), columns)
    files = {}
    for name, users in (("train", range(10)), ("test", range(3))):
        body = "".join(f"{name} {i} {u},{'ab'[i % 2]},{u}\n" for u in users for i in range(6))
        (tmp_path / f"{name}.csv").write_text("text,label,user\n" + body)
        files[name] = [SourceFile(tmp_path / f"{name}.csv", f"{name}.csv")]
    tables = tables_from_files(columns, files, found)
    splits = split(tables.tables, Rows(), tables.tallies)
    assert set(splits.tables["test"]["group"]) == {"0", "1", "2"}
    assert not {"0", "1", "2"} & {*splits.tables["train"]["group"]}
    assert splits.counts["elsewhere"] == 18


def test_the_latest_rows_are_the_test_rows(tmp_path: Path) -> None:
    days = [f"2024-{1 + i // 28:02}-{1 + i % 28:02}" for i in range(80)]
    content = "".join(f"text {i},{'ab'[i % 2]},{day}\n" for i, day in enumerate(days))
    (tmp_path / "x.csv").write_text(f"text,label,date\n{content}")
    found = cut(tmp_path / "x.csv", Form(), order="date").tables
    numbers = {name: [int(t.split()[1]) for t in part["input"]] for name, part in found.items()}
    assert numbers["test"] == list(range(60, 80))
    assert numbers["validation"] == list(range(40, 60))
    assert numbers["train"] == list(range(40))


def test_ties_at_the_border_of_a_split_are_mentioned(tmp_path: Path) -> None:
    content = "".join(f"text {i},{'ab'[i % 2]},{2000 + i // 12}\n" for i in range(80))
    (tmp_path / "x.csv").write_text(f"text,label,year\n{content}")
    notes = cut(tmp_path / "x.csv", Form(), order="year").notes
    assert any(note.startswith("validation: 12 rows have the same date or") for note in notes)


@pytest.mark.parametrize(
    ("dates", "message"),
    [
        (
            ("2024-01-01", "soon"),
            r"x\.csv, line 3: column 'date' holds 'soon' \(str\), which is ne",
        ),
        (("2024-01-01", ""), r"line 3: column 'date' holds 'None' \(NoneType\), which is neither"),
        (("2024-01-01", "7"), r"line 3: column 'date' holds '7' \(str\), a number, and a date"),
        (("2024-01-01", "nan"), r"line 3: column 'date' holds 'nan'"),
    ],
)
def test_dates_that_cannot_be_read_are_refused(tmp_path: Path, dates, message: str) -> None:
    (tmp_path / "x.csv").write_text("text,label,date\n" + "".join(f"t,a,{d}\n" for d in dates))
    with pytest.raises(DataError, match=message):
        read(tmp_path / "x.csv", Form(), order="date")


def test_answers_to_one_question_all_count_and_stay_together(tmp_path: Path) -> None:
    asked = [{"prompt": f"Question {i // 3}", "completion": f"Answer {i}"} for i in range(90)]
    path = lines(tmp_path / "x.jsonl", *asked, asked[0])
    found = cut(path, Form("text", "text"))
    prompts = {name: set(part["input"]) for name, part in found.tables.items()}
    assert not prompts["train"] & (prompts["test"] | prompts["validation"])
    assert sum(len(part) for part in found.tables.values()) == 90
    assert found.counts["equal"] == 1


def test_each_text_counts_once_where_there_are_no_labels(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("".join(f"line {i % 50}\n" for i in range(80)))
    found = cut(tmp_path / "x.txt", Form("text", None))
    assert {name: len(part) for name, part in found.tables.items()} == {
        "train": 26, "validation": 12, "test": 12,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"group": "a", "order": "b"}, "group and order are two ways to split; name one of them"),
        ({"input": ["a", "a"]}, "input: a column is named twice"),
        ({"group": "label", "label": "label"}, "group: must not be input or label too"),
        ({"input": ["a", "b", "c"]}, "columns.input: text-classification reads two texts here"),
        ({"separator": ";"}, "columns.separator: stands between several labels, and a row has"),
        ({"label": ["a", "b"]}, "columns.label: must be one column"),
    ],
)
def test_columns_that_do_not_fit_the_kind_are_refused(columns: Any, message: str) -> None:
    content = {"kind": "text-classification", "model": "m", "data": "d", "columns": columns}
    with pytest.raises(ValueError, match=message):
        Task.model_validate(content)
