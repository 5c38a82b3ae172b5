"""A trial of an experiment with `serve`: its metrics are those of the artefact."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from hpo_pipeline.data.prepare import prepare
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.reports.html.artefacts import artefacts, drawing, of_winner
from hpo_pipeline.results.trial import TrialState, read_trial
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.trial.__main__ import main
from hpo_pipeline.trial.answering.evaluate import evaluate
from hpo_pipeline.trial.answering.predictor import Reading, open_predictor, task_of
from hpo_pipeline.trial.artefact.record import read_record
from hpo_pipeline.trial.command import TrialCommand
from hpo_pipeline.trial.measuring.remeasure import remeasure
from tests.toys import faults_of

SPACE = (
    "{learning_rate: {type: float, low: 0.001, high: 0.1}, "
    "serve.quantize: {type: choice, values: [none, int8]}}"
)


@pytest.fixture(autouse=True)
def _graphs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPO_CACHE", str(tmp_path / "cache"))


def test_quality_and_size_are_those_of_what_is_served(
    write_experiment: Any, tmp_path: Path
) -> None:
    serve = "{format: onnx, threads: 1, batch: 2, lengths: [3, 9]}"
    file = write_experiment(serve=serve, space=SPACE, constraints='["latency_p50_ms <= 1e9"]')
    experiment = load(file)
    dataset = prepare(experiment, tmp_path)
    found = {}
    for quantize in ("none", "int8"):
        values = {"learning_rate": "0.05", "serve.quantize": quantize}
        command = TrialCommand(file, dataset, tmp_path / "trials", quantize, 0, values)
        assert main(command.argv()) == 0
        trial = read_trial(tmp_path / "trials" / quantize)
        assert trial is not None
        assert trial.state == TrialState.SUCCEEDED
        found[quantize] = trial
        folder = tmp_path / "trials" / quantize / "model"
        record = read_record(folder)
        assert (record.quantize, record.kind) == (quantize, "text-classification")
        assert record.max_length == 12
        assert 3 <= min(record.request_lengths) <= max(record.request_lengths) <= 12
        size = sum(file.stat().st_size for file in (folder / "onnx").iterdir()) / 1e6
        assert trial.metrics["model_size_mb"] == pytest.approx(size)
        again = evaluate(experiment, dataset, folder, 12)
        assert again.metrics["model_size_mb"] == pytest.approx(size)
        low, high = trial.intervals["latency_p50_ms"]
        assert high is not None
        assert 0 < low <= trial.metrics["latency_p50_ms"] <= high
        assert trial.environment["threads of a request"] == "1"
        for environment in (trial.environment, again.environment):
            assert re.fullmatch(r"\d+ fresh processes", environment["timed in"])
        assert again.environment["processor"] == trial.environment["processor"]
    _can_be_measured_and_asked(tmp_path / "trials/int8/model")
    whole, short = found["none"], found["int8"]
    best = next(p for p in whole.curve if p.step == whole.best_step).metrics
    assert whole.metrics["loss"] == pytest.approx(best["loss"], abs=1e-4)
    assert short.metrics["loss"] != whole.metrics["loss"]
    assert short.metrics["model_size_mb"] < whole.metrics["model_size_mb"]


def _can_be_measured_and_asked(folder: Path) -> None:
    served, plain = remeasure(folder, threads=1, batch=1, lengths=(4, 8))
    assert (served.serve.title, plain.serve.title) == ("onnx int8", "torch")
    assert served.found.metrics["model_size_mb"] != plain.found.metrics["model_size_mb"]
    for each in (served, plain):
        low, high = each.found.intervals["latency_p95_ms"]
        assert high is not None
        assert 0 < low <= each.found.metrics["latency_p95_ms"] <= high
    assert remeasure(folder, texts=["good film"] * 3, threads=1)[0].found.metrics
    predictor = open_predictor(folder, task_of(folder, Reading()), threads=1)
    assert predictor.title == "onnx int8"
    (one,) = predictor.predict(["great lovely film"])
    assert set(one["scores"]) == {"negative", "positive"}
    assert sum(one["scores"].values()) == pytest.approx(1.0, abs=1e-5)
    assert one["score"] == max(one["scores"].values())


def test_a_list_of_variants_counts_as_the_best_of_them(
    write_experiment: Any, tmp_path: Path
) -> None:
    file = write_experiment(
        serve="[{format: torch}, {format: onnx}, {format: onnx, quantize: int8}]",
        constraints='["model_size_mb >= 0.1"]',  # so small a model is smallest without a graph
    )
    experiment = load(file)
    again = tmp_path / "again.json"
    again.write_text(experiment.to_json(), "utf-8")
    assert load(again).serve == experiment.serve
    dataset = prepare(experiment, tmp_path)
    command = TrialCommand(file, dataset, tmp_path / "trials", "t", 0, {"learning_rate": "0.05"})
    assert main(command.argv()) == 0
    trial = read_trial(tmp_path / "trials/t")
    assert trial is not None
    sizes = {each.title: each.metrics["model_size_mb"] for each in trial.variants}
    assert list(sizes) == ["torch", "onnx", "onnx int8"]
    assert trial.served in ("onnx", "onnx int8")
    assert trial.metrics == trial.variants[list(sizes).index(trial.served)].metrics
    folder = tmp_path / "trials/t/model"
    assert len([*(folder / "onnx").iterdir()]) == 1
    assert read_record(folder).title == trial.served
    found = artefacts(experiment, [trial])
    assert {each.variant.title for each in found} == set(sizes)
    assert f"{trial.served} ★" in of_winner(found, experiment.objective[0], "t")
    assert not isinstance(drawing(found, experiment.objective[0]), str)


@pytest.mark.parametrize(
    ("sections", "fault"),
    [
        ({"serve": "{format: tflite}"}, "serve.format: input should be 'torch' or 'onnx'"),
        ({"serve": "{quantize: int8}"}, "serve: quantize: torch can be served with none or bf16"),
        ({"serve": "{threads: 0}"}, "serve.threads: input should be greater than or equal to 1"),
        ({"serve": "[]"}, "serve: must be a mapping, or a list of such variants"),
        ({"serve": "[{}, {format: torch}]"}, "serve: each variant at most once, got torch, torch"),
        ({"serve": "[{}, {quantize: bf16}]"}, "serve: bf16 cannot be one of several variants"),
        ({"serve": "{lengths: [9, 3]}"}, "serve: lengths: must be the shortest and the longest"),
        (
            {"serve": "{lengths: [3, 900]}"},
            "serve.lengths: the longest must be at most task.max_length",
        ),
        (
            {"space": "{serve.threads: {type: int, low: 1, high: 2}}"},
            "space.serve.threads: of serve, only serve.format, serve.quantize can be searched",
        ),
        (
            {"space": "{serve.quantize: {type: choice, values: [none, int8]}}"},
            "space.serve.quantize: torch can be served with none or bf16, got int8",
        ),
    ],
)
def test_what_cannot_be_served_is_said_before_a_trial(
    tmp_path: Path, sections: dict[str, str], fault: str
) -> None:
    found = faults_of(tmp_path, **sections)
    assert any(line.startswith(fault) for line in found), found


def test_a_format_and_its_precision_can_be_searched_together(tmp_path: Path) -> None:
    space = (
        "{serve.format: {type: choice, values: [torch, onnx]}, serve.quantize: "
        "{type: choice, values: [none, int8], when: {serve.format: onnx}}}"
    )
    assert faults_of(tmp_path, space=space) == []


def test_a_kind_whose_models_run_in_many_passes_is_served_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(TASKS["text-classification"]), "exports", False)
    found = faults_of(tmp_path, serve="{format: onnx}")
    assert found == ["serve: models of text-classification are served as they are; leave serve out"]
