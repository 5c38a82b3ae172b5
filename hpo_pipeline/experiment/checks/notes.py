"""What is allowed in an experiment but probably not meant: `hpo check` prints it as a note."""

from __future__ import annotations

from hpo_pipeline.experiment.algorithms.base import Problem
from hpo_pipeline.experiment.register import MIN_TEST_ROWS
from hpo_pipeline.experiment.rules import known_values
from hpo_pipeline.experiment.rules.checks import rule_notes
from hpo_pipeline.experiment.rules.drawing import DRAWS, kept_share
from hpo_pipeline.experiment.rules.region import region_of
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.stopping import (
    AshaStopping,
    HyperbandStopping,
    MedianStopping,
    PatienceStopping,
    PercentileStopping,
    ThresholdStopping,
)

P95_ROWS = 72
"""With fewer samples the 95th percentile has no upper bound at 95 % confidence."""


def notes(experiment: Experiment) -> list[str]:
    """Return a sentence for each part of an experiment that has no effect."""
    found = [
        _too_few_trials(experiment),
        _too_late(experiment),
        _short_grid(experiment),
        _few_rows(experiment),
        _few_test_rows(experiment),
    ]
    said = [note for note in found if note is not None]
    if experiment.space_rules:
        known = known_values(experiment.task, experiment.serve)
        said += rule_notes(experiment.space_rules, experiment.space, known)
    return said


def size_text(problem: Problem) -> str | None:
    """Say how many configurations there are; with rules, at least how large their share is."""
    size = problem.size()
    if size is not None:
        return f"{size:,} configurations" + (" keep the rules" if problem.rules else "")
    if not problem.rules:
        return None
    share = kept_share(region_of(problem.space, problem.rules))
    if share == 0:
        return f"less than 1 in {DRAWS:,} configurations keeps the rules"
    without = problem.space.size()
    counted = "" if without is None else f": about {share * without:.2g} configurations"
    return f"about {share:.2g} of the space keeps the rules (estimated){counted}"


def _too_few_trials(experiment: Experiment) -> str | None:
    """Say that a rule waits for more complete trials than there are."""
    rule, trials = experiment.chosen_stopping, experiment.budget.trials
    if not isinstance(rule, MedianStopping | PercentileStopping) or rule.min_trials < trials:
        return None
    return (
        f"stopping.min_trials: {rule.algorithm} stops no trial before {rule.min_trials} have "
        f"finished, and budget.trials is {trials}; it can never act"
    )


def _too_late(experiment: Experiment) -> str | None:
    """Say that a rule judges a trial for the first time when it is about to end anyway."""
    rule, longest = experiment.chosen_stopping, experiment.longest_training()
    if rule.row_parts:
        return None
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


def _few_rows(experiment: Experiment) -> str | None:
    """Say that the latency of few rows is not that of the rows to come."""
    rows = experiment.task.rows
    asked = {"validation": rows.validation, "test": rows.test}
    few = [f"{n} has {c}" for n, c in asked.items() if isinstance(c, int) and c < P95_ROWS]
    if not few or experiment.serve.lengths or "latency_p95_ms" not in experiment.reads:
        return None
    return (
        f"task.rows: the interval of latency_p95_ms needs {P95_ROWS} different rows, and "
        f"{' and '.join(few)}; they are repeated, and rarer lengths are not seen. Give more rows, "
        f"or serve.lengths"
    )


def _few_test_rows(experiment: Experiment) -> str | None:
    """Say that the gain over the baseline will have no interval."""
    rows = experiment.task.rows.test
    if experiment.found_baseline().values is None or not isinstance(rows, int):
        return None
    if rows >= MIN_TEST_ROWS:
        return None
    return (
        f"task.rows.test: the interval of the gain over the baseline needs {MIN_TEST_ROWS} test "
        f"rows, got {rows}; the report gives the gain alone"
    )


def _short_grid(experiment: Experiment) -> str | None:
    size = experiment.problem.size() if experiment.chosen_search.is_exhaustible else None
    if size is None or size >= experiment.budget.trials:
        return None
    return (
        f"budget.trials: the search ends after {size}, for the space has no more configurations; "
        f"got {experiment.budget.trials}"
    )
