"""Runs side by side: what differs, which value is best, and what cannot be compared."""

from __future__ import annotations

import dataclasses

import pytest

from hpo_pipeline.reports.comparison import ComparedRun, compare
from hpo_pipeline.results.outcome import Winner
from hpo_pipeline.results.run_state import RunState
from hpo_pipeline.results.trial import TrialState
from tests.toys import toy_experiment, toy_trial


def run(title, *trials, winner=None, fingerprint=None, importances=None, **sections):
    state = RunState(seconds=60.0, winner=winner, data_fingerprint=fingerprint)
    experiment = toy_experiment(**sections)
    return ComparedRun(title, experiment, state, "succeeded", trials, importances)


def rows(found, title):
    (table,) = [t for t in found.tables if t.title.startswith(title)]
    return {row.name: row for row in table.rows}


def test_the_winner_with_its_test_metrics():
    won = Winner("toy-1", {"learning_rate": 0.02}, {"accuracy": 0.8}, test={"accuracy": 0.7})
    found = compare([run("a", winner=won), run("b", toy_trial(0, accuracy=0.9))])
    assert rows(found, "Objectives")["accuracy"].shown == ("0.8000", "0.9000")
    assert rows(found, "Objectives")["accuracy"].best == 1
    assert rows(found, "Objectives")["accuracy, test"].values == (0.7, None)
    assert rows(found, "Configuration")["learning_rate"].shown == ("0.02", "0.001")
    assert found.notes == ("b has no winner yet: its best trial so far is shown.",)


@pytest.mark.parametrize(("high", "best"), [(5.0, 1), (7.0, None)])
def test_a_sampled_value_is_best_only_where_its_interval_is_clear(high, best):
    trial = toy_trial(0, accuracy=0.5, latency_p95_ms=8.0)
    fast = toy_trial(0, accuracy=0.5, latency_p95_ms=4.0)
    trial = dataclasses.replace(trial, intervals={"latency_p95_ms": (6.0, 9.0)})
    fast = dataclasses.replace(fast, intervals={"latency_p95_ms": (3.0, high)})
    found = compare([run("a", trial), run("b", fast)])
    assert rows(found, "Practical")["latency_p95_ms"].best == best


def test_trials_by_state_and_what_they_cost():
    done = dataclasses.replace(toy_trial(0, accuracy=0.5), seconds={"train": 50.0, "load": 10.0})
    failed = dataclasses.replace(toy_trial(1, state=TrialState.FAILED), seconds={"train": 90.0})
    copied = dataclasses.replace(done, name="toy-2", number=2, reused_from="toy-0")
    found = compare([run("a", done, failed, copied), run("b", done)])
    assert rows(found, "Runs")["failed trials"].values == (1, 0)
    assert "stopped trials" not in rows(found, "Runs")
    assert rows(found, "Time")["time in trials"].values == (150.0, 60.0)
    assert rows(found, "Time")["time in failed trials"].shown == ("1 min 30 s", "0 s")


def test_what_the_trials_have_cost_where_there_are_prices():
    environment = {"device": "CPU", "threads": "2"}
    trial = dataclasses.replace(toy_trial(0, accuracy=0.5), seconds={"train": 3600.0})
    trial = dataclasses.replace(trial, environment=environment)
    prices = {"cpu_hour": 0.5, "currency": "EUR"}
    row = rows(compare([run("a", trial, prices=prices), run("b", trial)]), "Time")[
        "cost of the trials"
    ]
    assert (row.shown, row.values) == (("1.00 EUR", ""), (1.0, None))


def test_settings_that_differ_are_named_as_in_the_file():
    found = compare(
        [
            run("a", search={"algorithm": "random", "seed": 1}),
            run("b", search={"algorithm": "tpe", "seed": 1}, name="another"),
        ]
    )
    settings = rows(found, "Settings")
    assert settings["search.algorithm"].shown == ("random", "tpe")
    assert settings["search.startup_trials"].shown == ("absent", "10")
    assert {name.split(".")[0] for name in settings} == {"search"}


def test_no_address_of_a_cluster_and_no_folder_is_shown():
    task = {"kind": "text-classification", "model": "/home/ann/secret/model", "data": "d"}
    found = compare([run("a", task=task), run("b", cluster={"namespace": "theirs"})])
    text = str(found.to_json())
    assert "theirs" not in text
    assert "/home/ann" not in text


def test_different_objectives_and_data_are_said_and_not_drawn():
    found = compare(
        [
            run("a", toy_trial(0, accuracy=0.5), fingerprint="1"),
            run("b", objective={"metric": "loss", "goal": "minimize"}, fingerprint="2"),
        ]
    )
    assert found.notes[0].startswith(
        "The runs have different objectives (a: maximize accuracy; b: minimize loss)"
    )
    assert found.notes[1].startswith("The runs were trained on different data")
    assert found.notes[3] == "b has no best trial: no trial has ended yet."
    assert found.histories == ([], [])


def test_histories_of_one_objective():
    trials = (toy_trial(0, accuracy=0.5), toy_trial(1, accuracy=0.4), toy_trial(2, accuracy=0.6))
    found = compare([run("a", *trials), run("b", trials[0])])
    assert found.histories == ([[0, 0.5], [1, 0.5], [2, 0.6]], [[0, 0.5]])
    assert found.objective == "maximize accuracy"


def test_importances_where_they_are_known():
    found = compare([run("a", importances={"x": 0.25, "y": 0.75}), run("b")])
    assert list(rows(found, "Importance")) == ["y", "x"]
    assert rows(found, "Importance")["y"].shown == ("75%", "")
