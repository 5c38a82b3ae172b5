"""One or two plain sentences under each heading: what the chart shows, with the numbers.

Pure text over the trials; what the importances mean in words is findings.py's. The sentences
say what is to be seen on the charts of figures.py, curves.py, tradeoff.py and the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from hpo_pipeline.experiment.objective import Objective
from hpo_pipeline.experiment.population import population
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.reports import formatting
from hpo_pipeline.results.ranking import is_usable, violation
from hpo_pipeline.results.trial import Trial, TrialState


def history(experiment: Experiment, trials: Sequence[Trial], objective: Objective) -> str:
    """Say how far the best so far came, and when it last moved."""
    allowed = _allowed(experiment, trials)
    if not allowed:
        return "No trial meets the constraints yet." if experiment.constraints else ""
    first, best = allowed[0], allowed[0]
    for trial in allowed:
        gain = objective.value(trial.metrics) - objective.value(best.metrics)
        if gain * objective.sign() > 0:
            best = trial
    top = formatting.number(objective.value(best.metrics))
    since = sum(trial.number > best.number and trial.state.is_final for trial in trials)
    idle = f"; the {_count(since, 'trial')} after it did not improve on it" if since else ""
    if best is first:
        return f"The best {objective.name}, {top}, came with {best.name}{idle}."
    start = formatting.number(objective.value(first.metrics))
    return (
        f"The best {objective.name} went from {start} ({first.name}) to {top} ({best.name}){idle}."
    )


def curves(trials: Sequence[Trial], *, winner: Trial | None) -> str:
    """Say what was cut off, and whether the winner was still getting better when it ended."""
    stopped = [trial for trial in trials if trial.state is TrialState.STOPPED]
    sentences = ["Each line is a trial, the thick green one the best."]
    if stopped:
        lengths = sorted(len(trial.curve) for trial in stopped)
        over = sum(trial.state.is_final for trial in trials)
        sentences.append(
            f"{len(stopped)} of {_count(over, 'trial')} were stopped early (orange crosses), half "
            f"of them after at most {_count(lengths[(len(lengths) - 1) // 2], 'evaluation')}."
        )
    if winner and winner.curve and winner.best_step is not None and len(winner.curve) > 1:
        last = winner.curve[-1].step
        sentences.append(
            f"{winner.name} was best at its last evaluation: longer training may help."
            if winner.best_step == last
            else f"{winner.name} was best at evaluation {winner.best_step} of {last}."
        )
    return " ".join(sentences)


def trade_off(front: Sequence[Trial], *, quality: Objective, price: Objective) -> str:
    """Say from where to where the front of quality against a price goes."""
    if not front:
        return "No trial meets the constraints yet."
    cheap = min(front, key=lambda t: -price.sign() * price.value(t.metrics))
    best = max(front, key=lambda t: quality.sign() * quality.value(t.metrics))

    def at(trial: Trial, objective: Objective) -> str:
        return formatting.number(objective.value(trial.metrics))

    if cheap is best:
        return (
            f"{best.name} is best in both: {quality.name} {at(best, quality)} at "
            f"{price.name} {at(best, price)}."
        )
    return (
        f"{len(front)} trials are on the front, where more of one costs some of the other: from "
        f"{quality.name} {at(cheap, quality)} at {price.name} {at(cheap, price)} ({cheap.name}) "
        f"to {at(best, quality)} at {at(best, price)} ({best.name})."
    )


def hypervolume(shares: Sequence[tuple[Trial, float]]) -> str:
    """Say how much of the box of objectives the front covers, and when it last grew."""
    last, final = shares[-1][0], shares[-1][1]
    grown = next(trial for trial, share in shares if math.isclose(share, final))
    words = (
        f"After {last.name} the Pareto front covers {final:.0%} of the box between the worst and "
        "the best value that any trial has of each objective; more is better."
    )
    if grown is last:
        return f"{words} The last trial still added to it: more trials may help."
    return f"{words} It last grew with {grown.name}."


def slices(experiment: Experiment, trials: Sequence[Trial]) -> str:
    """Say how the dots are read, and what a parameter that matters looks like."""
    usable = [trial for trial in trials if is_usable(experiment, trial)]
    kinds = ["Each dot is a trial, the later the darker"]
    if any(trial.state is TrialState.STOPPED for trial in usable):
        kinds.append("a cross was stopped early")
    if any(violation(experiment, trial) for trial in usable):
        kinds.append("a hollow one misses a constraint")
    return (
        f"{'; '.join(kinds)}. A slope or a hump means that the parameter matters, a level cloud "
        "that it does not."
    )


def parallel(experiment: Experiment) -> str:
    """Say how the lines of the parallel coordinates are read."""
    first = experiment.objective[0].name
    return (
        f"Each line is a trial, from its {first} on the left through the values it used: blue "
        "lines are the better ones, orange the worse. Where blue lines meet on an axis, good "
        "values lie."
    )


def lineage(experiment: Experiment, trials: Sequence[Trial], *, winner: Trial | None) -> str:
    """Say how often members took over another's model, and where the winner's model comes from."""
    crowd = population(experiment)
    if crowd is None:
        return ""
    born = [trial for trial in trials if trial.parent is not None]
    copied = sum(
        t.parent % crowd.size != t.number % crowd.size for t in born if t.parent is not None
    )
    words = (
        f"Each dot is an interval of training. In {copied} of {_count(len(born), 'step')} from one "
        "to the next a member went on from another's model (orange lines), else from its own "
        "(grey)."
    )
    if winner is None:
        return words
    path = ancestry(trials, winner)
    return f"{words} The winner's model passed through {_shortened([t.name for t in path])}."


def ancestry(trials: Sequence[Trial], trial: Trial) -> list[Trial]:
    """Return the trials whose model a trial went on from, the first one first, itself last."""
    by_number = {known.number: known for known in trials}
    path = [trial]
    while (parent := path[0].parent) is not None and parent in by_number:
        if parent >= path[0].number:
            break  # no trial resumes from a later one: the file is not ours
        path.insert(0, by_number[parent])
    return path


def _allowed(experiment: Experiment, trials: Sequence[Trial]) -> list[Trial]:
    usable = [trial for trial in trials if is_usable(experiment, trial)]
    return [trial for trial in usable if not violation(experiment, trial)]


def _shortened(names: Sequence[str]) -> str:
    if len(names) > 8:
        names = [*names[:3], "…", *names[-3:]]
    return " → ".join(names)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + "s" * (number != 1)
