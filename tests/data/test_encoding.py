"""Encoding: the same rows on one core and on several, in columns of one type."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from datasets import load_from_disk

from hpo_pipeline.data.prepare import prepare
from hpo_pipeline.data.prepared import encoding
from hpo_pipeline.data.prepared.dataset import DatasetMeta
from hpo_pipeline.data.progress import Progress, ProgressLine
from hpo_pipeline.data.row_table import Part, RowStore, schema_of
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.tasks.kind import Form


class Counter(Progress):
    def __init__(self) -> None:
        super().__init__()
        self.stages: dict[str, int] = {}

    def add(self, rows: int) -> None:
        super().add(rows)
        self.stages[self.stage.split(" ")[0]] = self.done


def test_several_processes_write_the_same_rows_as_one(
    write_experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = load(write_experiment())
    one = prepare(experiment, tmp_path / "one")
    monkeypatch.setattr(encoding, "ROWS_PER_PROCESS", 15)
    monkeypatch.setattr(encoding, "_cores", lambda: 3)
    progress = Counter()
    several = prepare(experiment, tmp_path / "several", progress)
    assert len(list((several / "train").glob("*.arrow"))) == 3 * encoding.FILES_PER_PROCESS
    for name in ("train", "validation", "test"):
        rows = [load_from_disk(str(folder / name)).to_list() for folder in (one, several)]
        assert rows[0] == rows[1]
    assert DatasetMeta.read(one) == DatasetMeta.read(several)
    assert progress.stages == {"Reading": 240, "Comparing": 240, "Encoding": 220}


def test_short_validation_rows_come_first(write_experiment, tmp_path: Path) -> None:
    folder = prepare(load(write_experiment()), tmp_path)
    lengths = [len(ids) for ids in load_from_disk(str(folder / "validation"))["input_ids"]]
    assert lengths == sorted(lengths)


def test_rows_beyond_a_size_are_kept_in_a_file_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpo_pipeline.data.row_table.IN_MEMORY", 1000)
    monkeypatch.setattr("hpo_pipeline.data.row_table.STORED_ROWS", 50)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store = RowStore(schema_of(Form()))
    texts = [f"text {i}" for i in range(500)]
    for start in range(0, 500, 30):
        part = texts[start : start + 30]
        store.append({"input": part, "label": ["a"] * len(part)}, 300)
    table = store.table()
    assert list(tmp_path.iterdir()) == []
    order = np.random.default_rng(0).permutation(500)
    found = Part(table, order)
    assert list(found["input"]) == [texts[i] for i in order]
    assert found["input"][3] == texts[order[3]]
    assert found["input"][-2:] == [texts[i] for i in order[-2:]]


def test_progress_is_a_line_a_second_at_most() -> None:
    stream = io.StringIO()
    quick = ProgressLine(stream, interval=3600)
    slow = ProgressLine(stream, interval=0)
    for line in (quick, slow):
        line.start("Encoding", 2000)
        line.add(500)
        line.add(500)
        line.end()
    assert stream.getvalue() == "Encoding: 500 of 2,000 rows\nEncoding: 1,000 of 2,000 rows\n"
