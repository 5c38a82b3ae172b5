"""Which trial of a search is its baseline: the one with the configuration that tuning must beat."""

from __future__ import annotations

from collections.abc import Iterable

from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.trial import Trial

MARK = " (baseline)"
"""What tables write behind its name."""


def baseline_trial(experiment: Experiment, trials: Iterable[Trial]) -> Trial | None:
    """Return the trial of the baseline, or None where there is none (yet).

    It is known by its configuration: the same is never trained twice.
    """
    values = experiment.found_baseline().values
    if values is None:
        return None
    same = (trial for trial in trials if trial.assignments == values)
    return min(same, key=lambda trial: trial.number, default=None)


def baseline_name(experiment: Experiment, trials: Iterable[Trial]) -> str | None:
    """Return the name of that trial."""
    found = baseline_trial(experiment, trials)
    return found.name if found else None
