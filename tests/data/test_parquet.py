"""Parquet: only what is wanted is read, its size is bounded, and odd files are refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hpo_pipeline.data.readers import read_file
from hpo_pipeline.data.readers.source_file import RawFile, SourceFile
from hpo_pipeline.errors import DataError


def written(path: Path, columns: dict[str, Any], metadata: dict[str, str] | None = None) -> Path:
    target = path.with_suffix(".parquet")
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), target)
    return target


def read(path: Path) -> RawFile:
    return read_file(SourceFile(path, "x.parquet"), lambda names: ("text", "label"))


def values(found: RawFile) -> list[list[Any]]:
    columns: list[list[Any]] = [[], []]
    for chunk in found.chunks:
        for whole, part in zip(columns, chunk.columns, strict=True):
            whole.extend(part)
    return columns


def test_texts_and_labels_of_every_type_of_column_are_read(tmp_path: Path) -> None:
    texts = ["a", None, "b", "a"]
    labels = pa.array([1, 2, None, 1], pa.int8())
    for kind in (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())):
        found = read(written(tmp_path / "x", {"text": pa.array(texts, kind), "label": labels}))
        assert values(found) == [texts, [1, 2, None, 1]]
        assert found.unit == "row"


def test_columns_that_are_not_wanted_are_not_decoded(tmp_path: Path) -> None:
    odd = pa.array([[{"a": b"\xff"}]] * 2)
    found = read(written(tmp_path / "x", {"odd": odd, "text": ["a", "b"], "label": ["x", "y"]}))
    assert found.columns == ["odd", "text", "label"]
    assert values(found)[0] == ["a", "b"]


def test_a_small_file_with_many_rows_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "x", {"text": ["same"] * 50_000, "label": ["x"] * 50_000})
    assert path.stat().st_size < 20_000
    first = next(iter(read(path).chunks)).columns[0]
    assert len({id(text) for text in first}) == 1
    monkeypatch.setattr("hpo_pipeline.data.readers.source_file.MAX_ROWS", 40_000)
    with pytest.raises(DataError, match=r"x\.parquet .* it has 50,000 rows, and 40,000 are all"):
        read(path)


def test_a_small_file_with_much_text_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpo_pipeline.data.readers.source_file.MAX_BYTES", 1_000_000)
    found = read(written(tmp_path / "x", {"text": ["x" * 1000] * 2000, "label": ["x"] * 2000}))
    with pytest.raises(DataError, match="more than 1,000,000 characters; take a sample"):
        values(found)


@pytest.mark.parametrize("noted", ["", "{", "[]", '{"info": 3}', '{"info": {"features": []}}'])
def test_odd_notes_in_the_schema_are_no_class_names(tmp_path: Path, noted: str) -> None:
    metadata = {"huggingface": noted, "pandas": "{"}
    found = read(written(tmp_path / "x", {"text": ["a"], "label": [0]}, metadata))
    assert (found.names, values(found)[1]) == ({}, [0])


def test_broken_files_are_refused_in_words(tmp_path: Path) -> None:
    path = written(tmp_path / "x", {"text": ["a", "b"], "label": ["x", "y"]})
    content = path.read_bytes()
    for broken in (content[:-9], content[:8] + bytes(len(content) - 8), b"PAR1", b""):
        path.write_bytes(broken)
        with pytest.raises(DataError, match=r"^task\.data: x\.parquet cannot be read: .+"):
            read(path)
    bad_text = pa.array([b"\xff\xfe", b"ok"]).cast(pa.string(), safe=False)
    found = read(written(tmp_path / "x", {"text": bad_text, "label": ["x", "y"]}))
    with pytest.raises(DataError, match="a text is not UTF-8"):
        values(found)
