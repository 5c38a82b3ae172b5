"""One configuration of an experiment, trained and measured as `hpo run` does it, without a search.

For the benchmarks beside this file. Settings are to be chosen by `validation`, never by `test`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo_pipeline.data.prepare import prepare
from hpo_pipeline.data.sources import read_tables
from hpo_pipeline.data.splitting.splits import split
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.trial import read_trial
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.trial.__main__ import main as run_trial
from hpo_pipeline.trial.answering.evaluate import evaluate
from hpo_pipeline.trial.command import TrialCommand


@dataclass(frozen=True)
class Split:
    """Inputs and labels of some rows, as a baseline gets them; labels only where there are any."""

    inputs: list[Any]
    labels: list[Any]


@dataclass(frozen=True)
class Trained:
    """What a configuration reached."""

    validation: dict[str, float]
    test: dict[str, float]
    seconds: float


def written(task: Mapping[str, Any], metric: tuple[str, str], file: Path) -> Path:
    """Write an experiment with this task, whose space is the learning rate, and return its path.

    Args:
        metric: its name and goal.
    """
    sections = {
        "name": "kinds",
        "task": task,
        "objective": {"metric": metric[0], "goal": metric[1]},
        "space": {"learning_rate": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True}},
        "budget": {"trials": 1},
    }
    file.write_text(json.dumps(sections), "utf-8")
    return file


def splits_of(experiment: Experiment) -> dict[str, Split]:
    """Return the rows of an experiment as a trial gets them."""
    task = experiment.task
    read = read_tables(task)
    form = TASKS[task.kind].form(task)
    found = split(read.tables, task.rows, read.tallies, form=form).tables
    return {
        name: Split(list(part["input"]), list(part["label"]) if form.label else [])
        for name, part in found.items()
    }


def train(file: Path, values: Mapping[str, str], folder: Path, seed: int) -> Trained:
    """Prepare the data of an experiment below a folder, and train one configuration on them."""
    experiment = load(file)
    dataset = prepare(experiment, folder / "data")
    name, trials = f"{file.stem}-{seed}", folder / "trials"
    start = time.process_time()
    run_trial(TrialCommand(file, dataset, trials, name, seed, dict(values), seed=seed).argv())
    seconds = time.process_time() - start
    trial = read_trial(trials / name)
    assert trial is not None
    assert trial.metrics, trial.reason
    model = trials / name / "model"
    tested = evaluate(experiment, dataset, model, experiment.max_length())
    return Trained(dict(trial.metrics), dict(tested.metrics), seconds)
