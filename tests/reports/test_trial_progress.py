"""How far a trial is within its training, and how long it still takes."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from hpo_pipeline.reports import formatting
from hpo_pipeline.reports.terminal.plain_lines import PlainLines
from hpo_pipeline.reports.terminal.trial_clock import TrialClock
from hpo_pipeline.results.training_progress import training_progress
from hpo_pipeline.results.trial import Trial, TrialState
from tests.toys import TASK, toy_curve, toy_experiment


def running(evaluations=0, **assignments):
    curve = toy_curve(*[0.5] * evaluations)
    return Trial("toy-0", 0, TrialState.RUNNING, assignments, curve=curve)


@pytest.mark.parametrize(
    ("training", "trial", "words", "done"),
    [
        ({}, running(), "epoch 0 of 3", 0),
        ({}, running(1), "epoch 1 of 3, step 10 of 30", 1 / 3),
        ({}, running(2, num_train_epochs=4), "epoch 2 of 4, step 20 of 40", 0.5),
        ({"num_train_epochs": 2.5}, running(1), "epoch 1 of 2.5, step 10 of 25", 0.4),
        ({"max_steps": 40}, running(), "step 0 of 40", 0),
        ({"max_steps": 40}, running(1), "epoch 1 of 4, step 10 of 40", 0.25),
    ],
)
def test_where_a_trial_is(training, trial, words, done):
    experiment = toy_experiment(task={**TASK, "training": training})
    progress = training_progress(experiment, trial)
    assert formatting.training(progress) == words
    assert progress.done == pytest.approx(done)


def test_the_length_of_a_resumed_training_is_not_known():
    assert training_progress(toy_experiment(), replace(running(1), parent=3)) is None


def test_the_time_that_is_left():
    clock = TrialClock(toy_experiment())
    clock.note([running()], 0.0)
    assert clock.left("toy-0", 5.0) is None
    clock.note([running(1)], 60.0)  # a third in a minute
    assert clock.left("toy-0", 60.0) == pytest.approx(120)
    assert clock.left("toy-0", 90.0) == pytest.approx(90)
    assert clock.words(running(1), 90.0) == "epoch 1 of 3, step 10 of 30, 1 min 30 s left"
    assert clock.left("toy-0", 900.0) == 0


def test_the_pace_of_a_trial_that_resumed_counts_from_there():
    clock = TrialClock(toy_experiment())
    clock.note([running(1)], 0.0)
    assert clock.left("toy-0", 9.0) is None
    clock.note([running(2)], 30.0)
    assert clock.left("toy-0", 30.0) == pytest.approx(30)


def test_lines_say_how_far_a_trial_is_each_half_minute():
    now, out = [0.0], io.StringIO()
    lines = PlainLines(toy_experiment(), out, clock=lambda: now[0])
    lines.started(10, 1)
    for seconds, evaluations in ((0, 0), (10, 1), (40, 2), (80, 2)):
        now[0] = float(seconds)
        lines.update([running(evaluations)], seconds=now[0])
    told = [line for line in out.getvalue().splitlines() if "epoch" in line]
    assert told == ["toy-0 epoch 2 of 3, step 20 of 30, 20 s left: accuracy 0.5000"]
