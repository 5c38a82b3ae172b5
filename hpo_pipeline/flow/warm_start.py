"""Earlier experiments that a search learns from: what `search.warm_start` names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from hpo_pipeline.errors import ExperimentError
from hpo_pipeline.experiment.algorithms.base import Problem
from hpo_pipeline.registry import Registry
from hpo_pipeline.results.run_folder import RunFolder
from hpo_pipeline.results.trial import Trial, TrialState


def earlier_trials(
    names: Iterable[str], folder: Path, registry: Registry, *, optional: Collection[str] = ()
) -> list[Trial]:
    """Return the trials of run folders and registered models.

    A path is relative to the experiment file (`folder`) or to the current folder. Each
    version of a registered model counts as the trial that it came from. Those in `optional` may
    not be there yet.

    Raises:
        ExperimentError: a name is neither.
    """
    trials: list[Trial] = []
    faults: list[str] = []
    for i, name in enumerate(names):
        paths = [folder / Path(name).expanduser(), Path(name).expanduser()]
        run = next((path for path in paths if (path / "experiment.json").is_file()), None)
        if run is not None:
            trials += RunFolder(run).finished_trials()
        elif name in registry.names():
            trials += _registered(registry, name)
        elif name not in optional:
            models = ", ".join(registry.names()) or "none"
            faults.append(
                f"search.warm_start.{i}: neither a run folder nor a registered model "
                f"({models}), got {name!r}"
            )
    if faults:
        raise ExperimentError("the experiment", faults)
    return trials


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
        # Those that do not fit the space are left out by the study.
        if not all(n in space and space[n].contains(v) for n, v in trial.assignments.items())
        or not problem.broken(trial.assignments)
    ]
