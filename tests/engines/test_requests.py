"""A trial that a person stops while the search goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hpo_pipeline.engines import RunContext
from hpo_pipeline.engines.interruption import Interruption
from hpo_pipeline.engines.loop.runner import Ended, Evaluated
from hpo_pipeline.engines.loop.search_loop import SearchLoop
from hpo_pipeline.results.requests import Request, answers, ask
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
            ask(self.folder.requests, Request("stop", self.trial.name))
            ask(self.folder.requests, Request("stop", "another"))
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
        folder.requests.mkdir()
        ask(folder.requests, Request("stop", "toy-0000"))  # left by an earlier part of the run
        loop = SearchLoop(RunContext(experiment, folder, lines), runner)
        trials, why = loop.run(interruption)
    assert [trial.state.value for trial in trials] == ["stopped", "succeeded", "succeeded"]
    assert (runner.stopped, why) == (["toy-0000"], None)
    said = [(found.asked, found.said.partition(":")[0]) for found in answers(folder.requests)]
    assert said == [
        ("stop toy-0000", "refused"),
        ("stop toy-0000", "it evaluates once more and keeps its best result"),
        ("stop another", "refused"),
    ]


class InstantRunner:
    """A trial is one evaluation, whose accuracy is the learning rate; `at` asks on the way."""

    slots = 1

    def __init__(self, folder, at=None):
        self.folder, self.at = folder, at or {}
        self.started, self.queue = [], []

    def start(self, trial):
        self.started.append(trial)
        for request in self.at.pop(len(self.started), ()):
            ask(self.folder.requests, request)
        done = Trial(trial.name, trial.number, TrialState.SUCCEEDED, dict(trial.assignments))
        done = replace(done, metrics={"accuracy": trial.assignments["learning_rate"]})
        self.folder.record(done)
        self.queue = [Ended(trial.name, done)]

    def events(self, timeout):
        found, self.queue = self.queue, []
        return found

    def stop(self, name, *, now=False):
        pass


def search(folder, at=None, **sections):
    """Run a search, or resume it; return its runner and its trials."""
    experiment, runner = toy_experiment(**sections), InstantRunner(folder, at)
    with folder.locked(), Interruption().installed() as interruption:
        folder.adopt(experiment)
        loop = SearchLoop(RunContext(experiment, folder, Lines()), runner)
        return runner, loop.run(interruption)[0]


def last_answer(folder):
    return answers(folder.requests)[-1].said


def test_a_configuration_is_tried_next_and_comes_on_top(tmp_path):
    folder = RunFolder(tmp_path / "run")
    wanted = Request("next", values={"learning_rate": "0.0125"})
    runner, trials = search(folder, {2: [wanted]}, budget={"trials": 4})
    assert len(trials) == 5
    assert runner.started[2].assignments == {"learning_rate": 0.0125}
    assert last_answer(folder) == "it will be toy-0002"
    assert folder.state().added_trials == 1
    assert not search(folder, budget={"trials": 4})[0].started  # the same command: nothing is left


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"learning_rate": "7"}, "learning_rate: must be a number from 1e-05 to 0.1, got 7"),
        ({"learning_rate": "x"}, "learning_rate: must be a number from 1e-05 to 0.1, got x"),
        ({}, "learning_rate is missing: it must be a number from 1e-05 to 0.1"),
        ({"other": "1"}, "other: not in the space (learning_rate)"),
        ({"learning_rate": "0.05"}, "it breaks the rule 'learning_rate <= 0.01'"),
    ],
)
def test_a_configuration_outside_the_space_is_refused(tmp_path, values, why):
    folder = RunFolder(tmp_path / "run")
    sections = {"space_rules": ["learning_rate <= 0.01"], "budget": {"trials": 2}}
    _, trials = search(folder, {1: [Request("next", values=values)]}, **sections)
    assert len(trials) == 2
    assert last_answer(folder).startswith(f"refused: {why}")


def test_a_trial_is_run_again_and_not_taken_for_its_twin(tmp_path):
    folder = RunFolder(tmp_path / "run")
    again = Request("again", "toy-0000")
    runner, trials = search(folder, {2: [again]}, budget={"trials": 2})
    assert [t.name for t in runner.started] == ["toy-0000", "toy-0001", "toy-0002"]
    assert trials[2].assignments == trials[0].assignments
    assert trials[2].reused_from is None
    assert last_answer(folder) == "its configuration is trained again as toy-0002"


def test_trials_are_added_to_a_run_that_has_ended(tmp_path):
    folder = RunFolder(tmp_path / "run")
    search(folder, budget={"trials": 2})
    ask(folder.requests, Request("more", count=3))
    ask(folder.requests, Request("next", values={"learning_rate": "0.0125"}))
    runner, trials = search(folder, budget={"trials": 2})
    assert (len(runner.started), len(trials)) == (4, 6)
    assert runner.started[0].assignments == {"learning_rate": 0.0125}
    assert answers(folder.requests)[0].said == "3 trials added, 5 in all"


def test_a_grid_has_all_its_points_beside_what_was_run_again(tmp_path):
    folder = RunFolder(tmp_path / "run")
    values = {"type": "choice", "values": [0.01, 0.02, 0.03]}
    sections = {
        "space": {"learning_rate": values},
        "search": {"algorithm": "grid"},
        "budget": {"trials": 3},
    }
    asked = [Request("again", "toy-0000"), Request("more", count=2)]
    _, trials = search(folder, {2: asked}, **sections)
    assert len(trials) == 4
    assert {t.assignments["learning_rate"] for t in trials} == {0.01, 0.02, 0.03}
    assert last_answer(folder).startswith("refused: the grid has 3 points")


def test_a_population_is_not_added_to(tmp_path):
    folder = RunFolder(tmp_path / "run")
    sections = {
        "search": {"algorithm": "pbt", "settings": {"population": 2}},
        "budget": {"trials": 4, "parallel": 2},
    }
    _, trials = search(folder, {1: [Request("more", count=1)]}, **sections)
    assert len(trials) == 4
    assert last_answer(folder).startswith("refused: a population has a fixed number")


def test_an_ending_search_takes_nothing_more(tmp_path):
    folder = RunFolder(tmp_path / "run")
    reached = {"budget": {"trials": 2, "target": 1e-9}}
    search(folder, **reached)
    ask(folder.requests, Request("more", count=1))
    search(folder, **reached)
    assert last_answer(folder).startswith("refused: the search starts no more trials: the target")


def test_a_damaged_request_is_dropped(tmp_path):
    folder = RunFolder(tmp_path / "run")
    search(folder, budget={"trials": 1})
    folder.requests.mkdir()
    for name, text in {
        "1": "{",
        "2": '{"kind": "rm"}',
        "3": '{"kind": "more", "count": -1}',
    }.items():
        (folder.requests / f"{name}.json").write_text(text)
    (folder.requests / "answers.jsonl").write_text("{}\n[1]\nno\n")
    assert len(search(folder, budget={"trials": 1})[1]) == 1
    assert answers(folder.requests) == []
    assert [path.name for path in folder.requests.iterdir()] == ["answers.jsonl"]
