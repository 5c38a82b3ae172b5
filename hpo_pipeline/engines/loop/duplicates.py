"""Proposals that equal an earlier one: they are not run, they take over its result.

Trials of a search share their seed, so that equal configurations give equal results. A twin of
a trial that still runs waits for its end without holding a slot.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from hpo_pipeline.experiment.population import population
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.space import Value
from hpo_pipeline.results.files import RESULT_FILE, write_json
from hpo_pipeline.results.trial import Trial, TrialState
from hpo_pipeline.search.study import Suggestion

Assigned = frozenset[tuple[str, Value]]


class Duplicates:
    """The twins that wait, by the number of the trial that they wait for.

    Members of a population have none: equal configurations resume from different checkpoints.
    Nor have runs with a seed of their own, and trials that a person wants trained again.
    """

    def __init__(self, experiment: Experiment) -> None:
        self._has_none = population(experiment) is not None
        self._known: dict[Assigned, Trial] = {}
        self._waiting: dict[int, list[Suggestion]] = {}

    def add(self, trial: Trial) -> None:
        """Remember a trial that has ended, if others may take over its result."""
        if trial.reused_from is None and trial.state in (TrialState.SUCCEEDED, TrialState.STOPPED):
            self._known.setdefault(frozenset(trial.assignments.items()), trial)

    def find(self, suggestion: Suggestion, running: Iterable[Suggestion]) -> Trial | bool | None:
        """Look for the trial that a suggestion repeats.

        Returns:
            the finished trial; True where it still runs, and the twin now waits; or None.
        """
        if self._has_none or suggestion.seed is not None or suggestion.is_again:
            return None
        known = self._known.get(frozenset(suggestion.assignments.items()))
        if known is not None:
            return known
        for other in running:
            if other.assignments == suggestion.assignments:
                self._waiting.setdefault(other.number, []).append(suggestion)
                return True
        return None

    def freed(self, number: int) -> list[Suggestion]:
        """Return, once, the twins that waited for a trial that has ended."""
        return self._waiting.pop(number, [])


def take_over(trial: Trial, suggestion: Suggestion, folder: Path) -> Trial:
    """Write and return the record of a twin: the result of the other, and no cost of its own."""
    twin = replace(
        trial,
        name=folder.name,
        number=suggestion.number,
        training_steps=0,
        seconds={},
        reason=None,
        reused_from=trial.name,
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / RESULT_FILE, twin.to_json())
    return twin
