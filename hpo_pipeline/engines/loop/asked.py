"""What people ask of a search while it goes on, or before it is resumed: taken up and answered.

Trials that people ask for come on top of the budget of the file, so that the search itself is not
cut short; how many they are is kept in run.json.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from hpo_pipeline.engines import RunContext
from hpo_pipeline.experiment.configuration import read_configuration
from hpo_pipeline.results.requests import Request, answer, take, trials
from hpo_pipeline.results.trial import Trial
from hpo_pipeline.search.study import Study


class Asked:
    """The requests of one run, for as long as its search goes on."""

    def __init__(self, context: RunContext, study: Study) -> None:
        self._experiment = context.experiment
        self._folder = context.folder
        self._progress = context.progress
        self._study = study
        self._added = context.folder.state().added_trials

    @property
    def planned(self) -> int:
        """How many trials the search has in all: the budget, and what people have added."""
        return self._experiment.budget.trials + self._added

    def take_up(
        self, ended: Mapping[int, Trial], running: Collection[str], ending: str | None
    ) -> list[str]:
        """Take up what was asked, and answer it; return the trials to stop.

        Args:
            ending: why the search starts no more trials, if so.
        """
        stops = []
        for request in take(self._folder.requests):
            try:
                said = self._said(request, ended, running, ending)
            except ValueError as error:
                said = f"refused: {error}"
            else:
                stops += [str(request.trial)] if request.kind == "stop" else []
            self._progress.say(f"a person asks: {request.words()}: {said}")
            answer(self._folder.requests, request, said)
        return stops

    def _said(
        self,
        request: Request,
        ended: Mapping[int, Trial],
        running: Collection[str],
        ending: str | None,
    ) -> str:
        """Do what was asked, but for stopping, and say so.

        Raises:
            ValueError: it cannot be done, and why.
        """
        if request.kind == "stop":
            if request.trial not in running:
                raise ValueError(f"{request.trial} does not run, or not any more")
            return "it evaluates once more and keeps its best result"
        if ending is not None:
            raise ValueError(f"the search starts no more trials: {ending}")
        if self._experiment.problem.population_size is not None:
            raise ValueError("a population has a fixed number of trials; change budget.trials")
        if request.kind == "more":
            return self._more(request.count)
        if request.kind == "again":
            known = next((t for t in ended.values() if t.name == request.trial), None)
            if known is None:
                raise ValueError(f"{request.trial} has not ended, or is not of this run")
            name = self._study.name(self._study.enqueue(known.assignments, again=True))
            said = f"its configuration is trained again as {name}"
        else:
            given = read_configuration(self._experiment.problem, request.values)
            said = f"it will be {self._study.name(self._study.enqueue(given))}"
        self._add(1)
        return said

    def _more(self, count: int) -> str:
        size = self._study.size
        if size is not None and size <= self.planned:
            raise ValueError(f"the grid has {size} points, and all of them are planned already")
        self._add(count)
        return f"{trials(count)} added, {self.planned} in all"

    def _add(self, count: int) -> None:
        self._added += count
        self._folder.update(added_trials=self._added)
