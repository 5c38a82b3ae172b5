"""A toy engine: a package of its own that tests add to the table of engines."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from hpo_pipeline.engines import ENGINES

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
        self.context.progress.say(f"{trial.name} trained")
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
