"""CSV and TSV: a row that does not fit the header is refused with its line, never shifted."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from hpo_pipeline.data.sources import read_tables
from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.task import Task

ROWS = "".join(f"a plain sentence {i},{'yes' if i % 2 else 'no'}\n" for i in range(20))


def read(path: Path, text: str | bytes, **columns: str) -> list[tuple[str, str]]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    task = {"kind": "text-classification", "model": "m", "data": str(path), "columns": columns}
    table = read_tables(Task.model_validate(task)).tables["train"]
    return list(zip(table["input"], table["label"], strict=True))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "text,label\nwell, it rained,no\n" + ROWS,
            r"line 2: 3 cells, .* 2 \(text, label\); put a",
        ),
        (
            "text,label\n" + ROWS.replace("\n", ",\n"),
            r"line 2: 3 cells.*remove the comma at the en",
        ),
        ("id,text,label\n1,it rained,no,\n", r"line 2: 4 cells, and the header has 3 \(id, text, "),
        ("text,label\n" + ROWS + "no label here\n", r"line 22: 1 cells, and the header has 2"),
        ("text,label\n" + ROWS + '"never closed,no\n' + ROWS, r"lines 22 to 42: a double quote op"),
        ("text,label\n" + '"open,no\n' + ROWS + 'end" here,no\n', r"lines 2 to 23: a double quote"),
        (
            "text,label\n" + '"open,no\n' + ROWS + 'shut",no\n',
            r"lines 2 to 23 are one row.* line 2",
        ),
        ('label,text\nno,a\nno,"open\nno,b\nno,shut"\n', r"lines 3 to 5 are one row.*line 4 looks"),
        ("text,label,label\na,b,c\n", r"has 2 columns named 'label'; rename all but one"),
        ("Text,Class\na,b\n", r"no column 'text'; it has Text, Class; is it 'Text'\?"),
        ("text,label \x07\na,b\n", r"no column 'label'; it has text, 'label \\x07'"),
        (
            "text,label\ncaf\u00e9 \u00fc,yes\n".encode() + b"na\xefve,no\n",
            r"line 3 is not UTF-8 text \(byte 0xef\); save the file as UTF-8, or name",
        ),
        ("\n", "it is empty; the first line must name the columns"),
    ],
)
def test_what_would_shift_or_merge_rows_is_refused_with_its_line(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message) as found:
        read(tmp_path / "x.csv", text)
    assert "x.csv" in str(found.value)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("text, label\na,b\n", [("a", "b")]),
        ("\ufefftext,label\r\na,b\r\n\r\nc,d \r\n", [("a", "b"), ("c", "d")]),
        ('text,label\n"a, b",c\n"say ""hi""",d\n', [("a, b", "c"), ('say "hi"', "d")]),
        (
            'text,label\n"Dear all,\nit rains, no\nmore",c\nx,d\n',
            [("Dear all,\nit rains, no\nmore", "c"), ("x", "d")],
        ),
        ('label,text\nc,"one\ntwo"\nc,three\n', [("one\ntwo", "c"), ("three", "c")]),
        ('text,label\nan inch is 1",c\n', [('an inch is 1"', "c")]),
        ("text,label\n" + "x" * 200_000 + ",b\n", [("x" * 200_000, "b")]),
    ],
)
def test_what_is_well_formed_is_read_as_it_is(
    tmp_path: Path, text: str, rows: list[tuple[str, str]]
) -> None:
    assert read(tmp_path / "x.csv", text) == rows


@pytest.mark.parametrize("name", ["DATA.CSV", "x.csv.gz", "x.tsv", "x.Tsv.GZ"])
def test_the_suffix_decides_on_the_format_whatever_its_case(tmp_path: Path, name: str) -> None:
    sign = "\t" if "tsv" in name.lower() else ","
    content = f"text{sign}label\na{sign}b\n".encode()
    packed = gzip.compress(content) if name.lower().endswith("gz") else content
    assert read(tmp_path / name, packed) == [("a", "b")]


def test_a_broken_or_huge_archive_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = gzip.compress(b"text,label\n" + b"a,b\n" * 1000)
    for content in (packed[:-20], b"text,label\n", packed[:12] + b"\xff" * 20):
        with pytest.raises(DataError, match=r"x\.csv\.gz cannot be read"):
            read(tmp_path / "x.csv.gz", content)
    monkeypatch.setattr("hpo_pipeline.data.readers.source_file.MAX_BYTES", 1000)
    with pytest.raises(DataError, match="unpacks to more than 1,000 bytes"):
        read(tmp_path / "x.csv.gz", packed)


def test_files_and_rows_beyond_the_limits_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpo_pipeline.data.readers.source_file.MAX_ROWS", 10)
    with pytest.raises(DataError, match=r"x\.csv cannot be read: it has 20 rows, and 10 are"):
        read(tmp_path / "x.csv", "text,label\n" + ROWS)
    monkeypatch.setattr("hpo_pipeline.data.readers.source_file.MAX_BYTES", 10)
    with pytest.raises(DataError, match=r"x\.csv has \d+ bytes, and 10 are allowed"):
        read(tmp_path / "x.csv", "text,label\n" + ROWS)
