"""Results on disk: exact, atomic, and readable by later and earlier versions."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path

import pytest

from hpo_pipeline.results.files import RESULT_FILE, write_json
from hpo_pipeline.results.outcome import SearchResult, Winner
from hpo_pipeline.results.trial import Point, Trial, TrialState, finite, last_attempt, read_trial
from tests.toys import toy_curve, toy_trial


def full_trial() -> Trial:
    trial = toy_trial(3, state=TrialState.STOPPED, curve=toy_curve(0.1 + 0.2, 1 / 3), accuracy=0.3)
    assignments = {"learning_rate": 1e-5 / 3, "model.layers": 2, "fp16": True, "optim": "sgd"}
    return replace(trial, assignments=assignments, best_step=2, seconds={"train": 1.5}, reason="x")


def test_a_trial_is_read_back_equal_to_the_last_digit(tmp_path: Path) -> None:
    folder = tmp_path / "toy-3"
    folder.mkdir()
    write_json(folder / RESULT_FILE, full_trial().to_json())
    found = read_trial(folder)
    assert found == full_trial()
    assert [type(v) for v in found.assignments.values()] == [float, int, bool, str]


def test_fields_of_later_versions_are_passed_over(tmp_path: Path) -> None:
    data = full_trial().to_json() | {"colour": "green"}
    data["curve"][0]["temperature"] = 36.6
    folder = tmp_path / "toy-3"
    folder.mkdir()
    write_json(folder / RESULT_FILE, data)
    assert read_trial(folder) == full_trial()


@pytest.mark.parametrize("name", ["toy-4", "../toy-3", "/tmp/toy-3", "toy-3/..", ""])
def test_a_result_that_names_another_folder_is_not_believed(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "toy-3"
    folder.mkdir()
    write_json(folder / RESULT_FILE, {**full_trial().to_json(), "name": name})
    assert read_trial(folder) is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "3", "{}", '{"name": "x"}', '{"state": "odd"}', "\udcff"]
)
def test_a_result_that_is_none_yet_is_none(tmp_path: Path, text: str) -> None:
    assert read_trial(tmp_path) is None
    (tmp_path / RESULT_FILE).write_text(text, "utf-8", "surrogateescape")
    assert read_trial(tmp_path) is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_refused_and_the_old_file_stays(
    tmp_path: Path, value: float
) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": 1.0})
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(path, {"a": value})
    assert json.loads(path.read_text()) == {"a": 1.0}
    assert os.listdir(tmp_path) == ["x.json"]


def test_a_write_that_fails_leaves_no_draft(tmp_path: Path) -> None:
    (tmp_path / "x.json").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_json(tmp_path / "x.json", {"a": 1})
    assert os.listdir(tmp_path) == ["x.json"]


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": ["long"] * 10_000})
    with path.open() as reader:
        write_json(path, {"a": 1})
        assert len(json.load(reader)["a"]) == 10_000
    assert json.loads(path.read_text()) == {"a": 1}


def test_a_search_sums_up_its_trials() -> None:
    states = [TrialState.FAILED, TrialState.SUCCEEDED, TrialState.SUCCEEDED]
    trials = tuple(toy_trial(i, state=state) for i, state in enumerate(states))
    winner = Winner("toy-1", {"learning_rate": 0.1}, {"accuracy": 0.9}, test={"accuracy": 0.8})
    summary = SearchResult("toy", "succeeded", 12.34567, trials, winner).summary()
    assert summary["trials"] == {"succeeded": 2, "failed": 1}
    assert summary["seconds"] == 12.346
    assert summary["winner"]["test"] == {"accuracy": 0.8}
    assert json.loads(json.dumps(summary)) == summary


def test_final_states_are_those_that_a_trial_does_not_leave() -> None:
    assert {state for state in TrialState if state.is_final} == {"succeeded", "stopped", "failed"}


def test_finite_keeps_the_numbers() -> None:
    assert finite({"a": 1.0, "b": math.nan, "c": math.inf}) == {"a": 1.0}


def test_a_trial_that_was_run_again_has_the_curve_of_its_last_attempt():
    cut_off = [Point(1, 10, 1.0, {"f1": 0.1}), Point(2, 20, 2.0, {"f1": 0.2})]
    whole = [Point(3, 10, 1.0, {"f1": 0.3}), Point(4, 20, 2.0, {"f1": 0.4})]
    assert [(p.step, p.metrics["f1"]) for p in last_attempt([*cut_off, *whole])] == [
        (1, 0.3),
        (2, 0.4),
    ]
    assert last_attempt([]) == []


def test_what_a_resumed_trial_reports_again_replaces_what_was_there():
    before = [Point(i, 10 * i, float(i), {"f1": 0.1}) for i in (1, 2, 3)]
    after = [Point(i, 10 * i, float(i), {"f1": 0.2}) for i in (3, 4)]
    found = last_attempt([*before, *after])
    assert [(p.step, p.training_step, p.metrics["f1"]) for p in found] == [
        (1, 10, 0.1),
        (2, 20, 0.1),
        (3, 30, 0.2),
        (4, 40, 0.2),
    ]
