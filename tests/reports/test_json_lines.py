"""What happens in a run as JSON, for log collectors."""

from __future__ import annotations

import io
import json
import logging

import pytest

from hpo_pipeline.cli.main import main
from hpo_pipeline.reports.terminal.json_lines import JsonHandler, JsonLines
from hpo_pipeline.results.trial import TrialState
from tests.toys import toy_curve, toy_experiment, toy_trial

RUNNING = toy_trial(1, state=TrialState.RUNNING, curve=toy_curve(0.3))


@pytest.fixture
def stream():
    return io.StringIO()


def read(stream):
    found = [json.loads(line) for line in stream.getvalue().splitlines()]
    for one in found:
        assert one.pop("time").endswith("+00:00")
        assert (one.pop("run"), one.pop("experiment")) == ("id", "toy")
    return found


def test_an_object_for_each_change(stream):
    lines = JsonLines(toy_experiment(), stream, lambda: "id")
    lines.started(10, 2)
    lines.update([toy_trial(0, accuracy=0.8)], seconds=1.0)  # of an earlier part
    lines.update([toy_trial(0, accuracy=0.8), RUNNING], seconds=1.0)
    lines.update([toy_trial(0, accuracy=0.8), RUNNING], seconds=2.0)
    lines.update([toy_trial(1, state=TrialState.FAILED)], seconds=3.0)
    lines.ended({"experiment": "toy", "state": "failed"})
    started, running, failed, ended = read(stream)
    assert started["objectives"] == ["maximize accuracy"]
    assert (running["trial"], running["assignments"]) == ("toy-1", {"learning_rate": 0.001})
    assert (failed["level"], failed["state"]) == ("warning", "failed")
    assert ended == {"level": "info", "event": "ended", "state": "failed"}


def test_the_log_has_the_same_form(stream):
    lines = JsonLines(toy_experiment(), stream, lambda: "id")
    logger = logging.getLogger("tests.json_lines")
    logger.propagate = False
    logger.addHandler(handler := JsonHandler(lines))
    try:
        logger.warning("%s\nof two lines", "a message")
        raise ValueError("wrong")
    except ValueError:
        logger.exception("it failed")
    finally:
        logger.removeHandler(handler)
    first, second = read(stream)
    assert (first["level"], first["message"]) == ("warning", "a message\nof two lines")
    assert second["traceback"].endswith("ValueError: wrong")


def test_a_run_that_cannot_start_ends_as_json_too(write_experiment, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    before = list(logging.getLogger().handlers)
    file = write_experiment(track="[mlflow]")
    command = ["run", str(file), "--run", str(tmp_path / "run"), "--log-format", "json"]
    try:
        assert main(command) == 2
    finally:
        logging.getLogger().handlers[:] = before
    (ended,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (ended["event"], ended["state"], ended["run"]) == ("ended", "failed", None)
    assert "track: mlflow: " in ended["reason"]
