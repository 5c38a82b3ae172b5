"""Katib's resources as our trials, from objects as a real Katib 0.19 had them."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from hpo_pipeline.engines.katib.status import (
    ended,
    ended_status,
    killed_status,
    or_recorded,
    state_of,
    states_of,
)
from hpo_pipeline.results.trial import TrialState
from tests.toys import toy_curve, toy_experiment, toy_trial

EXPERIMENT = toy_experiment()


def item(*conditions, value="0.9", name="toy-0003", **metadata):
    listed = [{"type": c, "status": "True", "message": f"Trial is {c}"} for c in conditions]
    metrics = [{"name": "accuracy", "latest": value, "max": value, "min": value}]
    return {
        "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z", **metadata},
        "spec": {"parameterAssignments": [{"name": "learning_rate", "value": "0.001"}]},
        "status": {"conditions": listed, "observation": {"metrics": metrics}},
    }


@pytest.mark.parametrize(
    ("conditions", "state"),
    [
        (["Created"], TrialState.WAITING),
        (["Created", "Running"], TrialState.RUNNING),
        (["Created", "Succeeded"], TrialState.SUCCEEDED),
        # Katib leaves Running on, and may add Succeeded when the job has ended.
        (["Created", "Running", "EarlyStopped"], TrialState.STOPPED),
        (["EarlyStopped", "Succeeded"], TrialState.STOPPED),
        (["Created", "Failed"], TrialState.FAILED),
        (["Created", "MetricsUnavailable"], TrialState.FAILED),
    ],
)
def test_the_strongest_condition_is_the_state(conditions, state):
    assert state_of(EXPERIMENT, item(*conditions)).state is state


@pytest.mark.parametrize("value", ["nan", "", "inf", "unavailable"])
def test_a_value_that_is_no_number_is_a_failure_whatever_katib_says(value):
    trial = state_of(EXPERIMENT, item("Succeeded", value=value))
    assert trial.state is TrialState.FAILED
    assert trial.reason == "it reported no finite accuracy"


def test_assignments_and_metrics_are_read():
    trial = state_of(EXPERIMENT, item("Succeeded"))
    assert (trial.number, trial.assignments) == (3, {"learning_rate": 0.001})
    assert trial.metrics == {"accuracy": 0.9}


def test_trials_without_numbers_are_numbered_by_age():
    young = item("Succeeded", name="toy-abc", creationTimestamp="2026-01-01T00:02:00Z")
    old = item("Succeeded", name="toy-xyz", creationTimestamp="2026-01-01T00:01:00Z")
    assert [t.name for t in states_of(EXPERIMENT, [young, old])] == ["toy-xyz", "toy-abc"]


def test_an_experiment_that_is_ended_early_says_why():
    experiment = item("Created", "Running")
    experiment["status"] = ended_status(experiment, "the time is up", datetime.now(UTC))
    assert ended(experiment) == (
        "succeeded",
        "Experiment has succeeded because the time is up",
    )
    assert ended(item("Running")) is None


@pytest.mark.parametrize("cause", ["the image cannot be pulled (x:1)", None])
def test_a_trial_that_is_ended_with_its_experiment_says_what_it_waited_for(cause):
    trial = item("Created", "Running")
    trial["status"] |= killed_status(trial, datetime.now(UTC), cause)
    said = state_of(EXPERIMENT, trial)
    assert said.state is TrialState.FAILED
    assert said.reason == (cause or "it ended with the experiment")


def test_a_trial_whose_log_is_gone_is_as_it_was_recorded():
    bare = toy_trial(3, accuracy=0.9)
    recorded = replace(
        bare, curve=toy_curve(0.5, 0.9), environment={"device": "CPU"}, intervals={"x": (1.0, 2.0)}
    )
    assert or_recorded(bare, recorded) == recorded
    assert or_recorded(replace(bare, number=5), recorded).number == 5
    longer = replace(bare, curve=toy_curve(0.5, 0.8, 0.9))
    assert or_recorded(longer, recorded) == longer  # its log is there
    other = toy_trial(3, accuracy=0.8)  # of an experiment that was deleted and made anew
    assert or_recorded(other, recorded) == other
    assert or_recorded(bare, None) == bare
