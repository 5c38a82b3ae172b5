import io
import json
import re
import socket
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from hpo_pipeline.errors import TrialError
from hpo_pipeline.results.trial import Point, Variant
from hpo_pipeline.trial.reporting.reporter import (
    Channel,
    EngineGone,
    MetricLines,
    Several,
    about_line,
    metric_lines,
    read_about,
    read_curve,
    read_metric_line,
)
from tests.toys import toy_curve, toy_trial

KATIB_FILTER = r"([\w|-]+)\s*=\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)"
"""The default filter of Katib's StdOut collector (pkg/metricscollector/v1beta1/common/const.go)."""

METRICS = {"f1": 0.1 + 0.2, "loss": 1e-7, "latency_p50_ms": 12.0, "gain": -3.5e20}
POINT = Point(1, 10, 1.0, METRICS)


PROGRESS = {"epoch": 1.0, "training_step": 10.0}


def written() -> list[str]:
    stream = io.StringIO()
    MetricLines(stream, lambda: datetime(2026, 1, 2, 3, 4, 5, 6000, UTC)).evaluated(POINT)
    return stream.getvalue().splitlines()


def test_a_line_has_the_time_and_one_metric():
    assert written()[0] == "2026-01-02T03:04:05.006Z f1=0.30000000000000004"


def test_reading_gives_the_same_numbers_back():
    assert dict(filter(None, map(read_metric_line, written()))) == {**METRICS, **PROGRESS}


def test_katibs_own_filter_finds_the_same_pairs():
    found = [re.findall(KATIB_FILTER, line) for line in written()]
    assert {m[0][0]: float(m[0][1]) for m in found} == {**METRICS, **PROGRESS}
    assert all(len(matches) == 1 for matches in found)


def test_the_last_line_tells_what_is_no_metric():
    intervals = {"latency_p95_ms": (3.5, None), "latency_p50_ms": (1.0, 2.0)}
    about = {
        "environment": {"device": "CPU (a = 1] b)", "timed in": "5 fresh processes"},
        "intervals": intervals,
        "served": "onnx int8",
        "training_steps": 45,
        "variants": (Variant("torch", {"f1": 0.5}, intervals), Variant("onnx int8", {"f1": 0.4})),
    }
    line = about_line(replace(toy_trial(0, f1=0.4), **about))
    assert re.findall(KATIB_FILTER, line) == []
    assert read_about(["I1127 main.go:139] 2026 f1=1", f"I1127 main.go:139] {line}"]) == about
    assert read_about([line, about_line(toy_trial(0))])["served"] is None  # of the last attempt


@pytest.mark.parametrize("text", ["", "{", "[]", '{"intervals": 3}', '{"training_steps": "many"}'])
def test_a_last_line_that_is_damaged_tells_nothing(text):
    assert read_about([f"about this trial: {text}"]) == {}


def test_other_lines_are_no_metric_lines():
    assert read_metric_line("INFO learning_rate=0.1") is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_is_not_written(value):
    with pytest.raises(TrialError, match="f1 is not a finite number"):
        metric_lines({"f1": value})


def test_a_name_that_could_not_be_read_back_is_not_written():
    with pytest.raises(TrialError, match="cannot be the name"):
        metric_lines({"eval/f1": 0.5})


@pytest.mark.parametrize(("answer", "goes_on"), [(b"go\n", True), (b"stop\n", False)])
def test_the_engine_decides_whether_a_trial_goes_on(answer, goes_on):
    engine, trial = socket.socketpair()
    engine.sendall(answer)
    with engine, closing(Channel(trial.detach())) as channel:
        assert channel.evaluated(POINT) is goes_on
        assert json.loads(engine.recv(9999))["point"]["metrics"] == METRICS


def test_a_trial_ends_when_its_engine_is_gone():
    engine, trial = socket.socketpair()
    engine.close()
    with closing(Channel(trial.detach())) as channel, pytest.raises(EngineGone):
        channel.evaluated(POINT)


def test_several_reporters_all_hear_of_an_evaluation():
    streams = [io.StringIO(), io.StringIO()]
    Several(tuple(map(MetricLines, streams))).evaluated(POINT)
    assert all("loss=1e-07" in stream.getvalue() for stream in streams)


def test_the_log_of_a_resumed_trial_has_its_whole_curve():
    points = list(toy_curve(0.1, 0.2, 0.3))
    stream = io.StringIO()
    lines = MetricLines(stream, clock=lambda: datetime(2026, 1, 2, tzinfo=UTC))
    lines.resumed(points[:2])
    lines.evaluated(points[2])
    told = stream.getvalue().splitlines()
    assert read_curve(told) == points
    before = io.StringIO()  # the log of the pod that was evicted
    MetricLines(before, clock=lambda: datetime(2026, 1, 1, tzinfo=UTC)).evaluated(points[0])
    assert read_curve([*before.getvalue().splitlines(), *told]) == points


def test_the_curve_can_be_read_from_the_lines():
    result = toy_trial(accuracy=0.7)
    stream = io.StringIO()
    times = iter(range(10))
    lines = MetricLines(stream, clock=lambda: datetime(2026, 1, 2, second=next(times)))
    for point in toy_curve(0.5, 0.7, 0.6):
        lines.evaluated(point)
    lines.finished(result)
    told = stream.getvalue().splitlines()
    assert all(line.startswith("2026-01-02T") for line in told)  # or Katib's collector warns
    noise = ["a warning: accuracy=0.9", ""]
    assert read_curve([*noise, *told]) == list(toy_curve(0.5, 0.7, 0.6))
