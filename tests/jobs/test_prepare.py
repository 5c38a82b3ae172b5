"""The job `prepare`: what it answers about the data."""

from __future__ import annotations

import json
from pathlib import Path

from hpo_pipeline.data.prepared.dataset import DatasetMeta
from hpo_pipeline.jobs.prepare import main
from hpo_pipeline.results.job import JobPlaces


def answered(file: Path, folder: Path) -> dict[str, object]:
    out = folder / "answer.json"
    main(JobPlaces(experiment=file, out=out, run=folder, datasets=folder / "data").argv())
    return dict(json.loads(out.read_text("utf-8")))


def test_the_answer_says_what_was_left_out(write_experiment, sentences, tmp_path: Path) -> None:
    own = tmp_path / "own.csv"
    first = sentences.read_text("utf-8").splitlines()[1]
    own.write_text(f"{sentences.read_text('utf-8')}{first}\n", "utf-8")
    file = write_experiment()
    file.write_text(file.read_text("utf-8").replace(str(sentences), str(own)), "utf-8")
    found = answered(file, tmp_path)
    meta = DatasetMeta.read(Path(str(found["dataset"])))
    assert found["fingerprint"] == meta.fingerprint
    assert found["notes"] == meta.notes
    assert "1 equal to another row" in meta.notes[0]


def test_wrong_data_are_answered_with_the_sentence(write_experiment, sentences, tmp_path) -> None:
    own = tmp_path / "own.csv"
    own.write_text("text,label\na, b,c\n", "utf-8")
    file = write_experiment()
    file.write_text(file.read_text("utf-8").replace(str(sentences), str(own)), "utf-8")
    found = answered(file, tmp_path)
    assert found["exit_code"] == 2
    assert "own.csv cannot be read: line 2: 3 cells" in str(found["error"])
