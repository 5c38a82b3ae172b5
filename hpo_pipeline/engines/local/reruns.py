"""Configurations that run again with given seeds: what an engine asks instead of a study.

It has the methods of search.study.Study that the engine calls, on a list that is fixed. What was
asked for before is known by the folders of the runs, so an engine goes on with it as with a
search.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from hpo_pipeline.engines import Needed
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.confirmation import Replicate
from hpo_pipeline.results.files import MODEL_FOLDER
from hpo_pipeline.results.trial import Point, Trial
from hpo_pipeline.search.study import Suggestion


class Reruns:
    """A fixed list of runs, none of which is stopped early; `folder` is that of all of them."""

    def __init__(self, runs: Sequence[Replicate], folder: Path, *, needed: Needed) -> None:
        self._folder = folder
        self._needed = needed
        self._runs = {run.number: run for run in runs}
        self._asked = [run for run in runs if (folder / run.name).is_dir()]
        self._left = [run for run in runs if run not in self._asked]
        self._ended: dict[int, Trial] = {}

    def name(self, number: int) -> str:
        """Return the name of a run."""
        return self._runs[number].name

    def knows(self, number: int) -> bool:
        """Tell whether a run is in the list."""
        return number in self._runs

    def unfinished(self) -> list[Suggestion]:
        """Return the runs that were asked for in an earlier part."""
        return [_suggestion(run) for run in self._asked]

    def count(self) -> int:
        """Return how many runs were asked for."""
        return len(self._asked)

    def learned(self) -> int:
        """Return how many earlier trials this learns from."""
        return 0

    def is_exhausted(self) -> bool:
        """Tell whether there is nothing left to ask for."""
        return not self._left

    def ask(self) -> Suggestion:
        """Return the next run."""
        run = self._left.pop(0)
        self._asked.append(run)
        return _suggestion(run)

    def report(self, number: int, point: Point) -> None:
        """Learn nothing: curves are in the results."""

    def should_stop(self, number: int, curve: Sequence[Point]) -> bool:
        """Tell that a run goes on: what is cut short says nothing about the spread."""
        return False

    def tell(self, trial: Trial) -> None:
        """Hear of the end of a run, and remove the models that are not needed any more."""
        self._ended[trial.number] = trial
        needed = self._needed(self._ended.values())
        for ended in self._ended.values():
            if ended.name not in needed:
                shutil.rmtree(self._folder / ended.name / MODEL_FOLDER, ignore_errors=True)


def for_reruns(experiment: Experiment, runs: Sequence[Replicate]) -> Experiment:
    """Return the experiment with a budget that all runs fit into, whatever happens."""
    count = len(runs)
    changes = {"trials": count, "max_failed": count, "keep": count, "minutes": None, "target": None}
    return experiment.model_copy(update={"budget": experiment.budget.model_copy(update=changes)})


def _suggestion(run: Replicate) -> Suggestion:
    return Suggestion(run.number, run.trial.assignments, seed=run.seed)
