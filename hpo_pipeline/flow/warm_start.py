"""Earlier experiments that a search learns from: what `search.warm_start` names."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from hpo_pipeline.errors import ExperimentError
from hpo_pipeline.experiment.algorithms.base import Problem
from hpo_pipeline.experiment.rules import known_values
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.registry import Registry
from hpo_pipeline.results.run_folder import RunFolder
from hpo_pipeline.results.trial import SCORED, Trial, TrialState
from hpo_pipeline.search.earlier import scores


def earlier_trials(
    experiment: Experiment, folder: Path, registry: Registry, *, left: Collection[str]
) -> list[Trial]:
    """Return the trials of the run folders and registered models `left` of `warm_start`.

    Those of runs are as the experiment's own would be (`adapted`). A path is relative to the
    experiment file (`folder`) or to the current folder. Each version of a registered model counts
    as the trial that it came from. The experiment's own model may not be there yet: the first run
    of a schedule has none.

    Raises:
        ExperimentError: a name is neither.
    """
    trials: list[Trial] = []
    faults: list[str] = []
    own = [experiment.register_.model] if experiment.register_ else []
    for i, name in enumerate(experiment.search.warm_start):
        if name not in left:
            continue
        paths = [folder / Path(name).expanduser(), Path(name).expanduser()]
        run = next((path for path in paths if (path / "experiment.json").is_file()), None)
        if run is not None:
            earlier = RunFolder(run)
            trials += adapted(experiment, earlier.experiment(), earlier.finished_trials())
        elif name in registry.names():
            trials += _registered(registry, name)
        elif name not in own:
            models = ", ".join(registry.names()) or "none"
            faults.append(
                f"search.warm_start.{i}: neither a run folder nor a registered model "
                f"({models}), got {name!r}"
            )
    if faults:
        raise ExperimentError("the experiment", faults)
    return trials


def adapted(experiment: Experiment, other: Experiment, trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials of another run as they would be in the space of an experiment.

    A parameter that only the experiment varies has the value that the other fixed, or else its
    default; with no parameter in common all trials would be the same then, so they stay as they
    are. Objectives of other data, another task or another metric become normal scores, where
    there is one objective; with several there is no scale that they share, and none is returned.
    """
    fixed = known_values(other.task, other.serve)
    new = [name for name in experiment.space if name not in other.space]
    is_related = len(new) < len(experiment.space)
    added = {name: fixed[name] for name in new if name in fixed and is_related}
    found = [replace(trial, assignments={**added, **trial.assignments}) for trial in trials]
    if _scale(experiment) == _scale(other):
        return found
    if len(experiment.objective) > 1 or len(other.objective) > 1:
        return []
    return _scored(experiment, other, found)


def _scale(experiment: Experiment) -> tuple[object, ...]:
    """Return what must be equal for objectives to be comparable."""
    task = experiment.task
    data = (task.kind, task.sources, task.subset, task.columns)
    return (*data, tuple((o.name, o.score, o.goal) for o in experiment.objective))


def _scored(experiment: Experiment, other: Experiment, trials: Sequence[Trial]) -> list[Trial]:
    theirs, ours = other.objective[0], experiment.objective[0]
    ended = (TrialState.SUCCEEDED, TrialState.STOPPED)
    values = [
        (t, theirs.sign() * v)
        for t in trials
        if t.state in ended and math.isfinite(v := theirs.value(t.metrics))
    ]
    return [
        replace(trial, metrics={**dict.fromkeys(ours.reads, 0.0), **trial.metrics, SCORED: score})
        for (trial, _), score in zip(values, scores([v for _, v in values]), strict=True)
    ]


def of_use(experiment: Experiment, trials: Sequence[Trial]) -> tuple[list[Trial], str | None]:
    """Return the trials that have a parameter of the space, and what to say of the others."""
    names = set(experiment.space)
    kept = [trial for trial in trials if not names.isdisjoint(trial.assignments)]
    others = [trial for trial in trials if names.isdisjoint(trial.assignments)]
    if not others:
        return kept, None
    theirs = ", ".join(dict.fromkeys(n for trial in others for n in trial.assignments)) or "none"
    ours = ", ".join(experiment.space)
    if kept:
        return kept, (
            f"search.warm_start: {len(others)} of {len(trials)} earlier trials: no parameter of "
            f"the space ({ours}), but {theirs}; the search learns from the others"
        )
    return kept, (
        f"search.warm_start: none of the {len(trials)} earlier trials has a parameter of the space "
        f"({ours}); they have {theirs}, and the search begins without them"
    )


def _registered(registry: Registry, name: str) -> list[Trial]:
    return [
        Trial(
            f"{record.name}-v{record.version}",
            record.version,
            TrialState.SUCCEEDED,
            record.assignments,
            metrics=record.metrics,
        )
        for record in registry.versions(name)
    ]


def keeping_rules(problem: Problem, trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that break none of the rules of a search."""
    space = problem.space
    return [
        trial
        for trial in trials
        # Those that do not fit the space are the study's to judge.
        if trial.assignments.keys() != set(space)
        or not all(space[n].contains(v) for n, v in trial.assignments.items())
        or not problem.broken(trial.assignments)
    ]
