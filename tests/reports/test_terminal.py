"""What a person sees while a search runs, on a terminal and in a log."""

from __future__ import annotations

import io

import pytest

from hpo_pipeline.reports.terminal import open_progress, progress_text
from hpo_pipeline.reports.terminal.live_table import select_rows
from hpo_pipeline.results.trial import TrialState
from tests.toys import toy_curve, toy_experiment, toy_trial

EXPERIMENT = toy_experiment()
RUNNING = toy_trial(1, state=TrialState.RUNNING, curve=toy_curve(0.3, 0.2))
DONE = toy_trial(0, accuracy=0.8)


def test_a_log_has_one_line_a_change() -> None:
    stream = io.StringIO()
    progress = open_progress(EXPERIMENT, stream, live=False)
    progress.started(10, 2)
    progress.update([RUNNING], seconds=1)
    progress.update([RUNNING], seconds=2)
    progress.update([DONE, RUNNING], seconds=3)
    progress.close()
    first, started, ended = stream.getvalue().splitlines()
    assert first == "toy: 10 trials, 2 in parallel; maximize accuracy"
    assert started.startswith("toy-1 started: ")
    assert ended == "toy-0 finished: accuracy 0.8000; best 0.8000 (toy-0); 1 of 10 in 3 s"


def test_a_run_that_goes_on_does_not_tell_again_what_was_told() -> None:
    stream = io.StringIO()
    progress = open_progress(EXPERIMENT, stream, live=False)
    progress.update([DONE], seconds=3)
    progress.update([DONE], seconds=4)
    assert stream.getvalue() == "1 trial finished earlier: 1 succeeded; best 0.8000 (toy-0)\n"


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (TrialState.STOPPED, "stopped after evaluation 2: accuracy 0.2"),
        (TrialState.FAILED, "failed: no reason given"),
    ],
)
def test_the_end_of_a_trial_says_how_it_ended(state: TrialState, words: str) -> None:
    stream = io.StringIO()
    progress = open_progress(EXPERIMENT, stream, live=False)
    progress.update([], seconds=0)
    metrics = {} if state is TrialState.FAILED else {"accuracy": 0.2}
    progress.update([toy_trial(state=state, curve=toy_curve(0.3, 0.2), **metrics)], seconds=3)
    assert words in stream.getvalue()


def test_the_live_table_shows_every_trial_and_leaves_its_last_state() -> None:
    stream = io.StringIO()
    progress = open_progress(EXPERIMENT, stream, live=True)
    progress.started(10, 2)
    progress.update([DONE, RUNNING], seconds=3)
    progress.say("[bold]a line, as it is")
    progress.close()
    shown = stream.getvalue()
    assert "toy-0" in shown
    assert "toy-1" in shown
    assert "[bold]a line, as it is" in shown


def test_a_low_terminal_keeps_what_runs_and_what_leads() -> None:
    trials = [toy_trial(i, accuracy=1 / (i + 1)) for i in range(30)]
    running = toy_trial(30, state=TrialState.RUNNING)
    shown = [trial.number for trial in select_rows([*trials, running], trials[:5], height=6)]
    assert len(shown) == 6
    assert shown == sorted(shown)
    assert {0, 30} <= set(shown)


def test_the_time_that_is_left() -> None:
    trials = [toy_trial(i, accuracy=0.5) for i in range(4)]
    assert progress_text.remaining(EXPERIMENT, [], total=10, seconds=5) is None
    assert progress_text.remaining(EXPERIMENT, trials, total=10, seconds=40) == 60
    limited = toy_experiment(budget={"trials": 10, "minutes": 1})
    assert progress_text.remaining(limited, trials, total=10, seconds=40) == 20


def test_a_running_trial_is_known_by_its_best_and_its_latest() -> None:
    assert progress_text.best_of(EXPERIMENT, RUNNING) == "0.3000"
    assert progress_text.now(EXPERIMENT, RUNNING) == "0.2000"
