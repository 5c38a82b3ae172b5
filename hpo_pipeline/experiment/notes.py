"""What is allowed in an experiment but probably not meant: `hpo check` prints it as a note."""

from __future__ import annotations

from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.stopping import (
    AshaStopping,
    HyperbandStopping,
    MedianStopping,
    PatienceStopping,
    PercentileStopping,
    ThresholdStopping,
)


def notes(experiment: Experiment) -> list[str]:
    """Return a sentence for each part of an experiment that has no effect."""
    found = [_too_few_trials(experiment), _too_late(experiment), _short_grid(experiment)]
    return [note for note in found if note is not None]


def _too_few_trials(experiment: Experiment) -> str | None:
    """Say that a rule waits for more complete trials than there are."""
    rule, trials = experiment.stopping, experiment.budget.trials
    if not isinstance(rule, MedianStopping | PercentileStopping) or rule.min_trials < trials:
        return None
    return (
        f"stopping.min_trials: {rule.algorithm} stops no trial before {rule.min_trials} have "
        f"finished, and budget.trials is {trials}; it can never act"
    )


def _too_late(experiment: Experiment) -> str | None:
    """Say that a rule judges a trial for the first time when it is about to end anyway."""
    rule, longest = experiment.stopping, experiment.longest_training()
    match rule:
        case AshaStopping() | HyperbandStopping():
            field, first = "grace_period", rule.grace_period
        case MedianStopping() | PercentileStopping() | ThresholdStopping():
            field, first = "start_step", rule.start_step
        case PatienceStopping():
            field, first = "patience", rule.patience + 1
        case _:
            return None
    if longest is None or first < longest:
        return None
    unit = getattr(rule, "resource", "evaluation")
    return (
        f"stopping.{field}: {rule.algorithm} first judges a trial at {unit} {first}, and none has "
        f"more than {longest}; it can save nothing"
    )


def _short_grid(experiment: Experiment) -> str | None:
    size = experiment.space.size() if experiment.search.is_exhaustible else None
    if size is None or size >= experiment.budget.trials:
        return None
    return (
        f"budget.trials: the search ends after {size}, for the space has no more configurations; "
        f"got {experiment.budget.trials}"
    )
