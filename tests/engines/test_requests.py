"""A trial that a person stops while the search goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hpo_pipeline.engines import RunContext
from hpo_pipeline.engines.interruption import Interruption
from hpo_pipeline.engines.loop.runner import Ended, Evaluated
from hpo_pipeline.engines.loop.search_loop import SearchLoop
from hpo_pipeline.results.requests import ask_to_stop
from hpo_pipeline.results.run_folder import RunFolder
from hpo_pipeline.results.trial import Point, Trial, TrialState
from tests.engines.test_local import Lines
from tests.toys import toy_experiment


class EndlessRunner:
    """Its first trial runs until it is stopped; it is asked for after its first evaluation."""

    slots = 1

    def __init__(self, folder, *, has_result):
        self.folder, self.has_result = folder, has_result
        self.queue, self.steps, self.stopped = [], 0, []

    def start(self, trial):
        self.trial = trial
        if self.stopped:
            self.queue = [Ended(trial.name, self.result(TrialState.SUCCEEDED))]

    def result(self, state):
        values = {"accuracy": 0.5}
        one = Trial(self.trial.name, self.trial.number, state, dict(self.trial.assignments))
        return replace(one, metrics=values)

    def events(self, timeout):
        if self.queue:
            found, self.queue = self.queue, []
            return found
        self.steps += 1
        assert self.steps < 50, "it was never stopped"
        if self.steps == 3:
            ask_to_stop(self.folder.requests, self.trial.name)
            ask_to_stop(self.folder.requests, "another")
        point = Point(self.steps, self.steps, 1.0, {"accuracy": 0.5})
        return [Evaluated(self.trial.name, point, lambda is_over: None)]

    def stop(self, name, *, now=False):
        self.stopped.append(name)
        done = self.result(TrialState.STOPPED) if self.has_result else None
        self.queue = [Ended(name, done, was_stopped=True, reason="ended by signal 15")]


@pytest.mark.parametrize("has_result", [True, False])
def test_a_trial_is_stopped_and_the_search_goes_on(tmp_path, has_result):
    folder = RunFolder(tmp_path / "run")
    experiment = toy_experiment(budget={"trials": 3})
    runner, lines = EndlessRunner(folder, has_result=has_result), Lines()
    with folder.locked(), Interruption().installed() as interruption:
        folder.adopt(experiment)
        ask_to_stop(folder.requests, "toy-0000")  # left by an earlier part of the run
        loop = SearchLoop(RunContext(experiment, folder, lines), runner)
        trials, why = loop.run(interruption)
    assert [trial.state.value for trial in trials] == ["stopped", "succeeded", "succeeded"]
    assert (runner.stopped, why) == (["toy-0000"], None)
    assert "toy-0000 is asked to stop, as a person wants" in lines.lines
