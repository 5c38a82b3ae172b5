"""Data as they are: every format, encoding, delimiter and place gives the same rows."""

from __future__ import annotations

import codecs
import functools
import gzip
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import fsspec
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from hpo_pipeline.data.sources import read_tables
from hpo_pipeline.data.tables.by_split import Tables
from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.task import Task

TEXTS = ["good day", "bad day", "so, so", "café crème", "naïve"]
LABELS = ["yes", "no", "no", "yes", "no"]
ROWS = list(zip(TEXTS, LABELS, strict=True))
CSV = "text,label\n" + "".join(f'"{text}",{label}\n' for text, label in ROWS)
OBJECTS = [{"text": text, "label": label} for text, label in ROWS]


def read(data: object, **task: Any) -> Tables:
    content = {"kind": "text-classification", "model": "m", "data": data, **task}
    return read_tables(Task.model_validate(content))


def rows(tables: Tables, split: str = "train") -> list[tuple[Any, Any]]:
    table = tables.tables[split]
    return list(zip(table["input"], table["label"], strict=True))


@pytest.mark.parametrize(
    ("encoding", "is_noted"),
    [
        ("utf-8", False), ("utf-8-sig", False), ("utf-16", False), ("utf-32", False),
        ("utf-16-le", False), ("utf-16-be", False), ("cp1252", True), ("latin-1", True),
    ],
)  # fmt: skip
def test_the_encoding_of_text_is_found(tmp_path: Path, encoding: str, is_noted: bool) -> None:
    (tmp_path / "x.csv").write_bytes(CSV.encode(encoding))
    tables = read(str(tmp_path / "x.csv"))
    assert rows(tables) == ROWS
    assert any("was read as cp1252" in note for note in tables.notes) == is_noted


def test_an_encoding_that_is_named_is_used_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes("text,label\nλέξη,yes\nλέξη 2,no\n".encode("iso8859-7"))
    assert rows(read(str(path), encoding="iso8859-7")) == [("λέξη", "yes"), ("λέξη 2", "no")]
    with pytest.raises(DataError, match=r"x\.csv cannot be read: line 2 is not UTF-8 text"):
        read(str(path), encoding="utf-8")
    with pytest.raises(ValueError, match="must be an encoding of text such as utf-8, got 'hex'"):
        read(str(path), encoding="hex")


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"text,label\nab\0cd,1\nab,2\n")
    with pytest.raises(DataError, match="line 2 holds a null character: it is not a text file"):
        read(str(tmp_path / "x.csv"))
    (tmp_path / "program.csv").write_bytes(b"\x7fELF\x90\x81\n\0\0\x8d,1\n")
    with pytest.raises(DataError, match="line 2 holds a null character: it is not a text file"):
        read(str(tmp_path / "program.csv"))


@pytest.mark.parametrize(("name", "sign"), [("x.csv", ";"), ("x.csv", "|"), ("x.tsv", ",")])
def test_the_delimiter_is_the_one_of_the_header(tmp_path: Path, name: str, sign: str) -> None:
    (tmp_path / name).write_text(
        f'text{sign}label\n"a{sign} b"{sign}yes\nc,d;e|f{sign}no\n'.replace(
            f"c,d;e|f{sign}", f"c{sign}"
        )
    )
    assert rows(read(str(tmp_path / name))) == [(f"a{sign} b", "yes"), ("c", "no")]


def test_a_delimiter_that_is_named_is_used(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("text~label\na, b~yes\n")
    assert rows(read(str(tmp_path / "x.csv"), delimiter="~")) == [("a, b", "yes")]
    (tmp_path / "x.csv").write_text("text;label\na;b;yes\n")
    with pytest.raises(DataError, match=r"line 2: 3 cells, .* 2 .*holds a semicolon in double"):
        read(str(tmp_path / "x.csv"))


@pytest.mark.parametrize("name", ["x.csv", "x.json", "x.jsonl", "x.tsv"])
@pytest.mark.parametrize("packed", ["", ".gz", ".zst"])
def test_text_may_be_packed(tmp_path: Path, name: str, packed: str) -> None:
    text = {
        "x.csv": CSV,
        "x.tsv": CSV.replace("so, so", "so so").replace(",", "\t").replace("so so", "so, so"),
        "x.json": json.dumps(OBJECTS),
        "x.jsonl": "".join(json.dumps(row) + "\n" for row in OBJECTS),
    }[name]
    path = tmp_path / f"{name}{packed}"
    content = text.encode()
    if packed == ".gz":
        content = gzip.compress(content)
    if packed == ".zst":
        content = pa.compress(content, "zstd", asbytes=True)
    path.write_bytes(content)
    assert rows(read(str(path))) == ROWS


@pytest.mark.parametrize("cut", [0, 10, 60])
def test_a_broken_zstandard_archive_is_refused(tmp_path: Path, cut: int) -> None:
    content = pa.compress(CSV.encode() * 50, "zstd", asbytes=True)
    (tmp_path / "x.csv.zst").write_bytes(content[:cut])
    with pytest.raises(DataError, match=r"x\.csv\.zst cannot be read"):
        read(str(tmp_path / "x.csv.zst"))


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"version": "1.0", "labels": ["yes", "no"], "data": OBJECTS}),
        json.dumps({"data": OBJECTS, "version": 2}, indent=2),
        json.dumps(OBJECTS, indent=1),
        "\n".join(json.dumps(row) for row in OBJECTS),
        codecs.BOM_UTF8.decode() + json.dumps(OBJECTS),
    ],
)
def test_json_may_have_its_rows_in_several_places(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text, "utf-8")
    assert rows(read(str(tmp_path / "x.json"))) == ROWS


def test_a_long_list_is_read_block_by_block(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("hpo_pipeline.data.readers.json_rows._BLOCK", 64)
    monkeypatch.setattr("hpo_pipeline.data.readers.text._BLOCK", 64)
    (tmp_path / "x.json").write_text(json.dumps({"data": OBJECTS * 3}), "utf-8")
    assert rows(read(str(tmp_path / "x.json"))) == ROWS * 3


def test_a_column_may_begin_after_the_first_rows(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("hpo_pipeline.data.readers.json_rows.CHUNK_ROWS", 2)
    lines = [json.dumps({"text": f"text {i}"}) for i in range(5)]
    lines += [json.dumps(row) for row in OBJECTS]
    (tmp_path / "x.jsonl").write_text("\n".join(lines))
    tables = read(str(tmp_path / "x.jsonl"))
    assert rows(tables) == ROWS
    assert tables.tallies["train"].without_label == 5


@pytest.mark.parametrize("form", ["file", "stream", "feather"])
def test_arrow_files_are_read(tmp_path: Path, form: str) -> None:
    table = pa.table({"text": TEXTS, "label": LABELS})
    path = tmp_path / ("x.feather" if form == "feather" else "x.arrow")
    if form == "feather":
        feather.write_feather(table, str(path), compression="zstd")
    else:
        new = pa.ipc.new_file if form == "file" else pa.ipc.new_stream
        with new(str(path), table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    assert rows(read(str(path))) == ROWS
    path.write_bytes(path.read_bytes()[:-40])
    if form != "stream":  # a stream may end anywhere between two batches
        with pytest.raises(DataError, match=r"cannot be read"):
            read(str(path))


def hub_like() -> datasets.Dataset:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    numbers = [int(label == "yes") for label in LABELS]
    return datasets.Dataset.from_dict({"text": TEXTS, "label": numbers}, features)


def test_folders_that_datasets_saved_are_read_with_the_names_of_their_labels(tmp_path) -> None:
    hub_like().save_to_disk(str(tmp_path / "one"))
    assert rows(read(str(tmp_path / "one"))) == ROWS
    several = {"train": hub_like(), "val_odd": hub_like().select([0, 1]), "extra": hub_like()}
    datasets.DatasetDict(several).save_to_disk(str(tmp_path / "several"))
    tables = read(str(tmp_path / "several"), splits={"train": "train", "validation": "val_odd"})
    assert rows(tables, "validation") == ROWS[:2]
    assert tables.notes == ("Splits passed over: extra.",)
    with pytest.raises(DataError, match=r"no split 'dev'; it has train, val_odd, extra"):
        read(str(tmp_path / "several"), splits={"train": "train", "test": "dev"})


def test_a_data_set_of_the_hub_has_subsets_revisions_and_splits_of_any_name(monkeypatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def load_dataset(name: str, subset: str | None, revision: str | None) -> Any:
        asked.append((name, subset, revision))
        one = hub_like()
        return datasets.DatasetDict({"train": one, "validation_matched": one, "test_a": one})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    splits = {"train": "train", "validation": "validation_matched"}
    tables = read("someone/reviews", subset="fr", revision="v2", splits=splits)
    assert asked == [("someone/reviews", "fr", "v2")]
    assert rows(tables, "validation") == ROWS
    assert tables.source == "hub someone/reviews, fr"
    again = read("someone/reviews", subset="fr", revision="v2", splits=splits)
    assert again.sha256 == tables.sha256
    assert read("someone/reviews").sha256 != tables.sha256
    with pytest.raises(DataError, match="no split 'test'; it has train, validation_matched, test_"):
        read("someone/reviews", splits={"train": "train", "test": "test"})


def parts(folder: Path) -> None:
    for i, (text, label) in enumerate(ROWS):
        (folder / f"part-{i}.csv").write_text(f'text,label\n"{text}",{label}\n', "utf-8")


def test_several_files_and_patterns_are_one_table(tmp_path: Path) -> None:
    parts(tmp_path)
    assert rows(read(str(tmp_path / "part-*.csv"))) == ROWS
    assert rows(read([str(tmp_path / f"part-{i}.csv") for i in range(5)])) == ROWS
    (tmp_path / "test.jsonl").write_text(json.dumps(OBJECTS[0]))
    (tmp_path / "train.csv").write_text(CSV, "utf-8")
    tables = read([str(tmp_path / "train.csv"), str(tmp_path / "test.jsonl")])
    assert (rows(tables), rows(tables, "test")) == (ROWS, ROWS[:1])
    with pytest.raises(DataError, match=r"no file matches .*none-\*\.csv"):
        read(str(tmp_path / "none-*.csv"))
    with pytest.raises(DataError, match="paths and URIs cannot be mixed"):
        read([str(tmp_path / "train.csv"), "s3://bucket/train.csv"])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{found.server_address[1]}"
        found.shutdown()


def test_any_uri_that_fsspec_opens_is_read(tmp_path: Path, server: str) -> None:
    parts(tmp_path)
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(CSV.encode()))
    pq.write_table(pa.table({"text": TEXTS, "label": LABELS}), tmp_path / "x.parquet")
    fsspec.filesystem("memory").pipe_file("/data/x.csv", CSV.encode())
    assert rows(read("memory://data/x.csv")) == ROWS
    assert rows(read(f"file://{tmp_path}/part-*.csv")) == ROWS
    assert rows(read([f"file://{tmp_path}/part-{i}.csv" for i in range(5)])) == ROWS
    for name in ("x.csv.gz", "x.parquet"):
        tables = read(f"{server}/{name}")
        assert rows(tables) == ROWS
        assert tables.source == f"{server}/{name}"
    with pytest.raises(DataError, match=r"none\.csv cannot be read"):
        read(f"{server}/none.csv")
    with pytest.raises(DataError, match=r"no file matches file:///.*none-\*\.csv"):
        read(f"file://{tmp_path}/none-*.csv")


def test_rows_that_cannot_be_read_are_named_counted_and_limited(tmp_path: Path) -> None:
    lines = ["text,label", "a,x", "b,c,x", "d,y", "e", "f,x"]
    (tmp_path / "x.csv").write_text("\n".join(lines))
    tables = read(str(tmp_path / "x.csv"), max_bad_rows=2)
    assert rows(tables) == [("a", "x"), ("d", "y"), ("f", "x")]
    assert (tables.tallies["train"].read, tables.tallies["train"].unreadable) == (5, 2)
    assert "2 rows could not be read and are left out: x.csv, line 3: 3 cells" in tables.notes[0]
    with pytest.raises(DataError, match=r"line 5: 1 cells.* than the 1 that task\.max_bad_rows"):
        read(str(tmp_path / "x.csv"), max_bad_rows=1)
    (tmp_path / "y.jsonl").write_text('{"text": "a", "label": 1}\n{"te\n{"text": 3, "label": 1}\n')
    assert rows(read(str(tmp_path / "y.jsonl"), max_bad_rows=2)) == [("a", "1")]
    with pytest.raises(
        DataError, match=r"column 'text' holds '3' \(int\), which is not text; this"
    ):
        read(str(tmp_path / "y.jsonl"), max_bad_rows=1)
