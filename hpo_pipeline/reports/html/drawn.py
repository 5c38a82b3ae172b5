"""Which trials of a long search the charts draw; the leaderboard lists all of them.

A chart of ten thousand trials takes minutes to make and to open, and shows no more than one of
some hundred. Drawn are those that a reader looks for: the best, those that were the best of their
time, those on a front, the winner and the baseline; and of the others every n-th.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.reports.html.tradeoff import front_of, quality_and_prices
from hpo_pipeline.results.ranking import is_usable, rank, violation
from hpo_pipeline.results.trial import Trial

MOST, BEST = 400, 100
LINES, BEST_LINES = 150, 50
"""Of parallel coordinates, whose every line is a chart of its own to the library."""
SAMPLED = 2_000
"""Trials that importances are computed of."""


def drawn(
    experiment: Experiment,
    trials: Sequence[Trial],
    *,
    always: Collection[str] = (),
    most: int = MOST,
    best: int = BEST,
) -> tuple[Trial, ...]:
    """Return the trials to draw, in their order; all of them where there are few.

    Args:
        always: the names of trials that are drawn in any case.
        most: how many are drawn, beside those that must be.
        best: how many of the best are among them.
    """
    if len(trials) <= most:
        return tuple(trials)
    names = {*always, *(trial.name for trial in rank(experiment, trials)[:best])}
    special = _records(experiment, trials) | _on_fronts(experiment, trials)
    picked = [trial for trial in trials if trial.name in special]
    names |= {trial.name for trial in evenly(picked, most // 2)}
    others = [trial for trial in trials if trial.name not in names]
    names |= {trial.name for trial in evenly(others, max(most - len(names), most // 4))}
    return tuple(trial for trial in trials if trial.name in names)


def evenly(trials: Sequence[Trial], count: int) -> Sequence[Trial]:
    """Return at most so many trials, from first to last."""
    if len(trials) <= count:
        return trials
    return [trials[i * len(trials) // count] for i in range(count)]


def note(trials: Sequence[Trial], shown: Sequence[Trial]) -> str:
    """Say that not all trials are drawn; empty where they are."""
    if len(shown) == len(trials):
        return ""
    return (
        f"Drawn are {len(shown):,} of the {len(trials):,} trials: the best, those that were the "
        f"best of their time, and of the others some from first to last. The leaderboard has all."
    )


def _records(experiment: Experiment, trials: Sequence[Trial]) -> set[str]:
    """Return the names of the trials that were better than all before, in one objective."""
    names = set()
    for objective in experiment.objective:
        top = None
        for trial in trials:
            if not is_usable(experiment, trial) or violation(experiment, trial):
                continue
            value = objective.sign() * objective.value(trial.metrics)
            if top is None or value > top:
                top = value
                names.add(trial.name)
    return names


def _on_fronts(experiment: Experiment, trials: Sequence[Trial]) -> set[str]:
    quality, prices = quality_and_prices(experiment)
    fronts = (front_of(experiment, trials, quality=quality, price=price) for price in prices)
    return {trial.name for front in fronts for trial in front}
