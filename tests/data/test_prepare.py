"""Data are prepared once, under a name that says what went in, or not at all."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest
from datasets import load_from_disk
from transformers import AutoTokenizer

from hpo_pipeline.data.prepare import prepare
from hpo_pipeline.data.prepared.dataset import DatasetMeta
from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.loading import load

TASK = """\
kind: text-classification
model: {model}
data: {data}
max_length: {max_length}
rows: {rows}"""
ROWS = "{train: 120, validation: 40, test: 60}"


@pytest.fixture
def experiment(write_experiment, tiny_bert, sentences):
    """Return a function that loads the toy experiment with other data, rows or length."""

    def make(rows: str = ROWS, max_length: int = 12, data: Path = sentences, **sections: str):
        task = TASK.format(model=tiny_bert, data=data, max_length=max_length, rows=rows)
        return load(write_experiment(task=task, **sections))

    return make


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
    }


def test_the_rows_are_tokenised_split_and_counted(experiment, tmp_path: Path) -> None:
    folder = prepare(experiment(), tmp_path)
    meta = DatasetMeta.read(folder)
    train = load_from_disk(str(folder / "train"))
    assert meta.labels == ["negative", "positive"]
    assert meta.rows == {"train": 120, "validation": 40, "test": 60}
    assert meta.majority == 0.5
    assert len(train) == 120
    assert train[0]["input_ids"][0] == 2  # [CLS]
    assert train[0]["label"] in (0, 1)


def test_what_was_left_out_or_cut_is_in_the_metadata(experiment, sentences, tmp_path) -> None:
    _, *rows = sentences.read_text().splitlines()
    odd = tmp_path / "odd.csv"
    extra = ["great day,positive", "great day,negative", rows[0], " ,positive", "no label,"]
    lines = [f"{i},{row}" for i, row in enumerate([*rows, *extra])]
    odd.write_text("\n".join(["id,text,label", *lines]))
    meta = DatasetMeta.read(prepare(experiment(data=odd, max_length=8), tmp_path / "out"))
    assert meta.notes == [
        "Columns that are not used: id.",
        "train: 245 rows read; left out: 1 without a text or an image, 1 without a label, 1 equal "
        "to another row, 2 with contradicting labels for the same input, 20 not asked for by "
        "task.rows.",
        "220 of 220 texts have 8 tokens or more; what exceeds them is cut (task.max_length).",
    ]
    assert meta.counts["read"] == 245
    assert meta.counts["used"] == 220
    assert meta.counts["at_max_length"] == 220


def test_the_test_rows_lie_apart_and_are_in_no_other_split(experiment, tmp_path: Path) -> None:
    folder = prepare(experiment(), tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(str(folder / "processor"))
    held_out = load_from_disk(str(folder / "test"))
    assert held_out.column_names == ["input", "label"]
    hidden = set(map(tuple, tokenizer(list(held_out["input"]))["input_ids"]))
    assert len(hidden) == 60
    for name in ("train", "validation"):
        seen = load_from_disk(str(folder / name))
        assert seen.column_names == ["input_ids", "label"]
        assert not hidden & set(map(tuple, seen["input_ids"]))


def test_a_second_run_reuses_the_folder_untouched(experiment, tmp_path: Path) -> None:
    folder = prepare(experiment(), tmp_path / "out")
    before = contents(tmp_path / "out")
    assert prepare(experiment(budget="{trials: 9}"), tmp_path / "out") == folder
    assert contents(tmp_path / "out") == before


def test_the_order_of_the_file_changes_the_hash_but_no_row(experiment, sentences, tmp_path) -> None:
    header, *lines = sentences.read_text().splitlines()
    turned = tmp_path / "turned.csv"
    turned.write_text("\n".join([header, *lines[::-1]]))
    one, other = (prepare(experiment(data=data), tmp_path) for data in (sentences, turned))
    assert one != other
    assert (
        load_from_disk(str(one / "test")).to_list() == load_from_disk(str(other / "test")).to_list()
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"max_length": 10},
        {"rows": "{train: 119, validation: 40, test: 60}"},
        {"rows": "{train: 120, validation: 40, test: 60, seed: 1}"},
        {"space": "{task.max_length: {type: int, low: 4, high: 16}}"},
    ],
)
def test_the_fingerprint_follows_what_goes_in(experiment, tmp_path: Path, changes) -> None:
    one, other = prepare(experiment(), tmp_path), prepare(experiment(**changes), tmp_path)
    assert one != other
    assert DatasetMeta.read(one).fingerprint != DatasetMeta.read(other).fingerprint


def test_one_more_row_of_data_is_another_dataset(experiment, sentences, tmp_path: Path) -> None:
    more = tmp_path / "more.csv"
    more.write_text(sentences.read_text() + "a sentence,negative\n")
    assert prepare(experiment(), tmp_path) != prepare(experiment(data=more), tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("text,label\na,x\nb,x\nc,x\n", "task.rows"),
        ("text,label\n", "task.rows.test"),
        ("words,label\na,x\n", "no column 'text'"),
    ],
)
def test_bad_data_leave_nothing_behind(experiment, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        prepare(experiment(data=tmp_path / "bad.csv"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_said(experiment, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(DataError, match="the dataset cannot be written: Not a directory"):
        prepare(experiment(), tmp_path / "out")
    assert (tmp_path / "out").read_text() == "a file"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("{tmp}/none", "there is no directory"),
        ("tweets", "tweets is data, not a model"),
        ("someone/no-model", "'someone/no-model' cannot be loaded"),
        ("{tmp}", "cannot be loaded: it has no config.json"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_refused(
    experiment, tmp_path: Path, write_experiment, sentences, model: str, message: str
) -> None:
    named = model.format(tmp=tmp_path)
    task = TASK.format(model=named, data=sentences, max_length=12, rows=ROWS)
    with pytest.raises(DataError, match=message):
        prepare(load(write_experiment(task=task)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_two_processes_at_once_make_one_folder(experiment, tmp_path: Path) -> None:
    out = tmp_path / "out"
    made = experiment()
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=prepare, args=(made, out)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert os.listdir(out) == [prepare(made, out).name]


def test_a_folder_without_a_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a prepared dataset"):
        DatasetMeta.read(tmp_path)
    (tmp_path / "dataset.json").write_text('{"fingerprint": 1}')
    with pytest.raises(DataError, match="is not a prepared dataset"):
        DatasetMeta.read(tmp_path)
