"""An engine is one folder and one row: a toy of both is found, searches, and ends a whole run."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from hpo_pipeline.engines import ENGINES, RunContext
from hpo_pipeline.errors import ExperimentError
from hpo_pipeline.flow.launch import launch
from hpo_pipeline.results.run_folder import RunFolder
from tests.engines.test_local import Lines
from tests.toys import toy_experiment

ENGINE = '''
from contextlib import contextmanager

from hpo_pipeline.engines import Searched
from hpo_pipeline.engines.loop.runner import Ended, Evaluated
from hpo_pipeline.engines.loop.search_loop import SearchLoop
from hpo_pipeline.results.files import MODEL_FOLDER
from hpo_pipeline.results.job import JobOutput
from hpo_pipeline.results.trial import Point, Trial, TrialState


class ToyRunner:
    """A trial is one evaluation, whose accuracy is the learning rate."""

    slots = 2

    def __init__(self, context):
        self.context, self.queue = context, []

    def start(self, trial):
        accuracy = trial.assignments["learning_rate"]
        point = Point(1, 10, 1.0, {"accuracy": accuracy})
        done = Trial(
            trial.name, trial.number, TrialState.SUCCEEDED, dict(trial.assignments),
            metrics={"accuracy": accuracy, "model_size_mb": 1.0}, curve=(point,),
        )
        self.context.folder.record(done)
        self.queue.append(Evaluated(trial.name, point, lambda is_over: None))
        self.queue.append(Ended(trial.name, done))

    def events(self, timeout):
        found, self.queue = self.queue, []
        return found

    def stop(self, name, *, now=False):
        pass


class ToyEngine:
    def __init__(self, context):
        self.context = context

    def search(self, earlier, interruption):
        loop = SearchLoop(self.context, ToyRunner(self.context), earlier=earlier)
        trials, ended = loop.run(interruption)
        return Searched(tuple(trials), ended)

    def run(self, jobs, interruption):
        test = {"metrics": {"accuracy": 0.5}}
        measured = {"evaluation": test, "fingerprint": "f", "model": "toy:m"}
        return [JobOutput(job.name, measured) for job in jobs]

    def previous(self, name):
        return None


@contextmanager
def open_engine(context):
    yield ToyEngine(context)
'''
FAULTS = """
def faults(experiment):
    return ["budget.trials: toys are few"] if experiment.budget.trials > 20 else []
"""


@pytest.fixture
def toy_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "toy_engine"
    package.mkdir()
    for name, text in (("__init__", ""), ("engine", ENGINE), ("faults", FAULTS)):
        (package / f"{name}.py").write_text(dedent(text), "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(ENGINES, "toy", "toy_engine")


def context(tmp_path: Path, **sections: object) -> RunContext:
    return RunContext(toy_experiment(**sections), RunFolder(tmp_path / "run"), Lines())


def test_a_toy_engine_ends_a_whole_run(toy_engine, tmp_path: Path) -> None:
    result = launch("toy", context(tmp_path, budget={"trials": 6, "parallel": 2}))
    assert result.state == "succeeded"
    assert len(result.trials) == 6
    best = max(result.trials, key=lambda t: t.metrics["accuracy"])
    assert result.winner is not None
    assert result.winner.name == best.name
    assert result.winner.test == {"accuracy": 0.5}
    assert result.winner.model == "toy:m"


def test_a_toy_engine_ends_at_the_target_and_resumes(toy_engine, tmp_path: Path) -> None:
    reached = context(tmp_path, budget={"trials": 20, "parallel": 2, "target": 1e-4})
    first = launch("toy", reached)
    assert first.reason == "the target 0.0001 is reached"
    assert len(first.trials) < 20
    again = launch("toy", context(tmp_path, budget={"trials": 20, "parallel": 2}))
    assert len(again.trials) == 20
    assert again.trials[: len(first.trials)] == first.trials


def test_what_only_this_engine_refuses_is_told_before_it_starts(toy_engine, tmp_path) -> None:
    with pytest.raises(ExperimentError, match="toys are few"):
        launch("toy", context(tmp_path, budget={"trials": 30}))
