"""YAML from a stranger: what is refused, and which scalars mean what they say."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from hpo_pipeline.errors import ExperimentError
from hpo_pipeline.experiment.document import MAX_BYTES, read_document

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


def read(tmp_path: Path, content: str | bytes) -> dict[str, object]:
    path = tmp_path / "x.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_document(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("1e-3", 0.001), ("1.5E+2", 150.0), ("5e-05", 5e-05), ("-.5", -0.5), ("2.", 2.0)),
        *(("3", 3), ("-3", -3), ("0", 0), ("'3'", "3"), ("true", True), ("FALSE", False)),
        *(("no", "no"), ("yes", "yes"), ("off", "off"), ("y", "y"), ("null", None)),
        *(("true-ish/model", "true-ish/model"), ("falsehoods.csv", "falsehoods.csv")),
        *(("1e5x", "1e5x"), ("1.2.3", "1.2.3"), ("2024-01-01", "2024-01-01")),
        *(("010", "010"), ("1:30", "1:30"), ("1_000", "1_000"), ("0x10", "0x10")),
    ],
)
def test_a_scalar_means_what_it_looks_like(tmp_path: Path, text: str, value: object) -> None:
    found = read(tmp_path, f"a: {text}")["a"]
    assert (found, type(found)) == (value, type(value))


def test_json_and_a_byte_order_mark_are_read_too(tmp_path: Path) -> None:
    assert read(tmp_path, '{"a": [1, 2.5e-3, "x"]}') == {"a": [1, 0.0025, "x"]}
    assert read(tmp_path, b"\xef\xbb\xbfa: 1") == {"a": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (BOMB, r"aliases \(\*name\) are not allowed in line 2, column 8"),
        ("a: &x 1\nb: *x", "aliases"),
        ("a: 1\nb: 2\na: 3", "the key 'a' is there twice in line 3, column 1"),
        ("a: {b: 1, b: 2}", "the key 'b' is there twice"),
        ("a: " + "[" * 500 + "]" * 500, "nested too deeply"),
        ("[" * 100_000, "nested too deeply"),
        ("- " * 100_000, "nested too deeply"),
        ("a: [1", "is not YAML: expected .* in line 1"),
        ("a: b: c", "mapping values are not allowed"),
        ("a: 1\n---\nb: 2", "found another document in line 2"),
        ("\tx: 1", "is not YAML"),
        ("a: \x07", "is not YAML"),
        ("? [a]\n: 1", "is not YAML"),
        ("a: !!python/object/apply:os.system [true]", r"tags \(.*os\.system\) are not allowed"),
        ("a: !!int 0x" + "f" * 5000, r"tags \(.*int\) are not allowed in line 1, column 4"),
        ("a: ! b", "tags"),
        ('a: "x\\0y"', "a text holds a null character in line 1, column 4"),
        ('a: "\\ud83d"', "half of a surrogate pair"),
        ("a: !!bool maybe", "is not YAML"),
        ("a: !!int ''", "is not YAML"),
        ("a: !!timestamp now", "is not YAML"),
        ("a: " + "9" * 5000, "is not YAML: Exceeds the limit"),
        ("- a\n- b", "must be a mapping, such as `name: tweets`"),
        ("just text", "must be a mapping"),
        ("", "must be a mapping"),
        ("1: a", "must be a mapping"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        ("# " + "x" * MAX_BYTES, "is larger than 200,000 bytes"),
    ],
)
def test_a_bad_file_is_one_clear_fault(tmp_path: Path, content: str, message: str) -> None:
    start = time.perf_counter()
    with pytest.raises(ExperimentError, match=message) as caught:
        read(tmp_path, content)
    assert len(str(caught.value)) < 400
    assert caught.value.exit_code == 2
    assert time.perf_counter() - start < 3


def test_a_missing_file_and_a_directory_are_named(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"none\.yaml: 1 fault\n  - there is no such file"):
        read_document(tmp_path / "none.yaml")
    with pytest.raises(ExperimentError, match="cannot be read: Is a directory"):
        read_document(tmp_path)


@pytest.mark.parametrize("text", ["a: [" + "1," * 99_000 + "]", "a: [" + "{}," * 66_000 + "]"])
def test_the_worst_file_that_is_read_costs_seconds(tmp_path: Path, text: str) -> None:
    begin = time.process_time()
    assert len(read(tmp_path, text)["a"]) >= 66_000  # type: ignore[arg-type]
    assert time.process_time() - begin < 15


def test_json_is_read_fast_and_as_yaml_is(tmp_path: Path) -> None:
    start = ",\n    ".join(f'{{"learning_rate": 0.{n}}}' for n in range(1, 30_000))
    begin = time.process_time()
    found = read(tmp_path, f'{{"search": {{"start": [{start}]}}}}')
    assert len(found["search"]["start"]) == 29_999  # type: ignore[call-overload, index]
    assert time.process_time() - begin < 5
    assert read(tmp_path, '{"a": "\\ud83d\\ude00", "b": 1e-3}') == {"a": "\U0001f600", "b": 0.001}
    for text, said in (
        ('{"a": 1, "a": 2}', "the key 'a' is there twice in line 1, column 10"),
        ('{"a": "\\ud83d"}', "half of a surrogate pair"),
        ('{"a": "x\\u0000"}', "a null character"),
        ('{"a": ' + "[" * 60 + "]" * 60 + "}", "nested too deeply"),
    ):
        with pytest.raises(ExperimentError, match=said):
            read(tmp_path, text)


def test_only_a_regular_file_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(ExperimentError, match="is not a regular file"):
            read_document(place)
    with pytest.raises(ExperimentError, match="is not a path"):
        read_document(tmp_path / "a\0b")
    with pytest.raises(ExperimentError, match="cannot be read: File name too long"):
        read_document(tmp_path / ("x" * 300))
