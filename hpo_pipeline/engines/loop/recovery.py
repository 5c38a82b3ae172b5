"""Opening the study of a run: from its journal, or from the results where that is damaged."""

from __future__ import annotations

from collections.abc import Sequence

from hpo_pipeline.engines import RunContext
from hpo_pipeline.experiment.space import Space, Value
from hpo_pipeline.results.trial import Trial
from hpo_pipeline.search.journal import open_journal
from hpo_pipeline.search.study import Known, Study

DAMAGED = (AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError)
"""What Optuna raises on a journal whose lines are JSON but not its own."""


def open_study(context: RunContext, earlier: Sequence[Trial]) -> Study:
    """Return the study of a run, which knows every trial that has a result.

    A journal that lacks some of them was damaged or lost: it is kept under another name, and the
    study is rebuilt from the results, so that no finished trial is trained again.
    """
    folder, problem = context.folder, context.experiment.problem
    trials = folder.finished_trials()
    try:
        study = Study(problem, open_journal(folder.journal), earlier=earlier)
        if all(study.knows(trial.number) for trial in trials):
            return study
    except DAMAGED:
        pass
    if folder.journal.exists():
        folder.journal.replace(folder.journal.with_suffix(".damaged"))
    context.progress.say(
        f"{folder.journal.name} is damaged or missing; the search is rebuilt from the results"
    )
    known = {trial.number: Known(trial, _parameters(problem.space, trial)) for trial in trials}
    return Study.rebuilt(
        problem,
        known,
        asked=max(known, default=-1) + 1,
        earlier=earlier,
        storage=open_journal(folder.journal),
    )


def _parameters(space: Space, trial: Trial) -> dict[str, Value]:
    """Return all parameters of a trial; inactive ones get their first value."""
    return {
        name: trial.assignments[name] if name in trial.assignments else space[name].point(0)
        for name in space
    }
