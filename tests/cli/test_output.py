"""Foreign texts on the terminal: registries, run folders and pods are written by others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hpo_pipeline.cli.main import main
from hpo_pipeline.cli.output import metrics_line, printable
from hpo_pipeline.registry.directory.driver import DirectoryRegistry
from tests.registry.contract import make_candidate, make_model

HOSTILE = "[/x] [red]high[/red] :boom: \x1b[31m"


def test_markup_and_control_characters_of_a_registry_are_printed_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make_model(tmp_path / "model")
    candidate = make_candidate(model, "tweets", HOSTILE)
    registry = DirectoryRegistry(tmp_path / "models")
    registry.register(replace(candidate, experiment=HOSTILE, reason=HOSTILE), model)
    registry.promote("tweets", 1, expected=None, reason=HOSTILE)
    for action in ([], ["show", "tweets"], ["history", "tweets"]):
        assert main(["models", "--registry", str(tmp_path / "models"), *action]) == 0
        shown = capsys.readouterr().out
        assert r"[/x] [red]high[/red] :boom: \x1b[31m" in shown
        assert "\x1b" not in shown


def test_what_controls_a_terminal_is_escaped() -> None:
    assert printable("a\x07b\ud800\u202e\n±é★") == r"a\x07b\ud800\u202e" + "\n±é★"


def test_the_registry_may_be_given_after_the_action(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, place = make_model(tmp_path / "model"), str(tmp_path / "elsewhere")
    DirectoryRegistry(tmp_path / "elsewhere").register(make_candidate(model, "tweets"), model)
    promote = ["promote", "tweets", "candidate", "--reason", "it is the first"]
    for command in (
        ["show", "tweets", "--registry", place],
        ["list", "--registry", place],
        [*promote, "--registry", place],
        ["--registry", place, "history", "tweets"],
    ):
        assert main(["models", *command]) == 0
        assert "tweets" in capsys.readouterr().out or "history" in command
    assert main(["models", "show", "other", "--registry", place]) == 1
    assert "have tweets" in capsys.readouterr().err
    assert DirectoryRegistry(tmp_path / "elsewhere").get("tweets", "champion").version == 1


def test_an_empty_registry_says_how_to_look_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "--registry", str(tmp_path / "none")]) == 0
    assert "no models here; --registry names another place" in capsys.readouterr().out


def test_a_registry_that_cannot_be_used_stops_a_run_before_its_search(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "toy.yaml").write_text(
        "{name: toy, task: {kind: image-classification, model: m, data: digits,"
        " from_scratch: true},"
        " objective: {metric: accuracy, goal: maximize}, budget: {trials: 1},"
        " space: {learning_rate: {type: float, low: 1.0e-5, high: 0.1}},"
        " register: {model: toy, registry: 'kubeflow://127.0.0.1:9?store=models'}}"
    )
    run = ["run", str(tmp_path / "toy.yaml"), "--run", str(tmp_path / "run")]
    assert main(run) == 1
    assert "http://127.0.0.1:9: the registry cannot be reached" in capsys.readouterr().err
    assert not (tmp_path / "run" / "trials").exists()


def test_the_line_of_metrics_starts_with_the_objective_and_fits_the_task() -> None:
    costs = {"loss": 0.5, "latency_p50_ms": 2.0, "peak_memory_mb": 9.0}
    classes = {"accuracy": 0.9, "f1": 0.8, "recall": 0.7, **costs}
    assert metrics_line(classes) == "accuracy 0.9, f1 0.8, loss 0.5, latency_p50_ms 2"
    assert metrics_line(classes, ["recall"]).startswith("recall 0.7, accuracy 0.9, f1 0.8, loss")
    several = {"f1_micro": 0.8, "hamming_loss": 0.1, **costs}
    assert metrics_line(several) == "f1_micro 0.8, hamming_loss 0.1, loss 0.5, latency_p50_ms 2"
