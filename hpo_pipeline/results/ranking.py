"""Which trial wins: constraints first, then the objectives, ties by model size.

A constraint on what was measured within an interval is met, missed or undecided
(experiment/verdict.py). Trials that meet all constraints come first, then those of which it is
undecided, then those that miss one. An undecided trial wins only where none is known to meet them.

Every engine's trials are ranked here and nowhere else. A trial that failed, or whose objective
is not a finite number, is never chosen. With several objectives the trials are ranked Pareto
front by Pareto front, and within each by the rule of the experiment.

| rule          | within a front                                                               |
| ------------- | ---------------------------------------------------------------------------- |
| weights       | by the weighted sum of the objectives, each scaled by the first front        |
| knee          | the same with equal weights: the farthest from the plane through the extremes |
| lexicographic | by the first objective; within its tolerance by the second, and so on        |

Scaling puts the best value that the first front has at 1 and its worst at 0, so that units do
not matter, nor trials that went wrong (the upper-lower-bound approach of Marler and Arora,
"Survey of multi-objective optimization methods", 2004). The knee is that of Das, "On
characterizing the knee of the Pareto curve", 1999: with the extremes at (1, 0) and (0, 1), the
distance to the line through them grows with the sum.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from operator import mul
from typing import Protocol

from hpo_pipeline.experiment.formula import Constraint
from hpo_pipeline.experiment.metrics import Metrics
from hpo_pipeline.experiment.objective import Objective
from hpo_pipeline.experiment.schema import Experiment, SelectLexicographic, SelectWeights
from hpo_pipeline.experiment.verdict import Intervals, Verdict, verdict
from hpo_pipeline.results.trial import Trial, TrialState, Variant


class Judged(Protocol):
    """What trials are judged by: an experiment, or the problem of a search."""

    @property
    def objective(self) -> tuple[Objective, ...]:
        """The objectives."""

    @property
    def constraints(self) -> tuple[str, ...]:
        """The constraints."""


class Known(Protocol):
    """What is known of a model: a trial, or the mean of several."""

    @property
    def metrics(self) -> Metrics:
        """The metrics by name."""

    @property
    def intervals(self) -> Intervals:
        """The intervals of those that were sampled."""


ObjectiveVector = tuple[float, ...]
"""The values of the objectives, signed so that more is better."""


@dataclass(frozen=True)
class RankKey:
    """What the ranking compares of a trial, or of several that are taken together.

    `violation` is what the constraints are missed by, `size` the megabytes of the model.
    """

    point: ObjectiveVector
    violation: float
    size: float
    number: int
    is_undecided: bool = False

    @cached_property
    def exact(self) -> tuple[float, ...]:
        """The sort key that compares the objectives one after the other."""
        worse = (self.violation, float(self.is_undecided))
        return (*worse, *(-value for value in self.point), self.size, self.number)


@dataclass(frozen=True)
class Scale:
    """The best and the worst value of each objective on a Pareto front."""

    best: ObjectiveVector
    worst: ObjectiveVector

    def scaled(self, point: ObjectiveVector) -> ObjectiveVector:
        """Return a point with the best value at 1 and the worst at 0; 0 where they are equal."""
        spans = zip(point, self.best, self.worst, strict=True)
        return tuple((p - low) / (top - low) if top > low else 0.0 for p, top, low in spans)


def violation(experiment: Judged, found: Known) -> float:
    """Return the sum of what the constraints are missed by; 0 where none is known to be missed."""
    return _missed_by(found, _verdicts(experiment, found))


def judged(constraint: str, found: Known) -> Verdict:
    """Return what is known of a constraint."""
    return verdict(constraint, found.metrics, found.intervals)


def is_undecided(experiment: Judged, found: Known) -> bool:
    """Return whether no constraint is missed, and one may be."""
    return _may_be_missed(_verdicts(experiment, found))


def is_usable(experiment: Judged, trial: Trial) -> bool:
    """Return whether a trial may win at all, constraints aside."""
    if trial.state not in (TrialState.SUCCEEDED, TrialState.STOPPED):
        return False
    return all(math.isfinite(o.value(trial.metrics)) for o in experiment.objective)


def listed(experiment: Experiment, trials: Iterable[Trial]) -> tuple[list[Trial], list[Trial]]:
    """Return the trials as every leaderboard lists them: the ranked ones, then the others."""
    everyone = list(trials)
    ranked = rank(experiment, everyone)
    names = {trial.name for trial in ranked}
    return ranked, [trial for trial in everyone if trial.name not in names]


def rank(
    experiment: Experiment, trials: Iterable[Trial], *, scale: Scale | None = None
) -> list[Trial]:
    """Return the usable trials, best first.

    Those that satisfy the constraints come before those that do not, which are ordered by how
    much they miss them. Equal objectives are decided by model size, then by the earlier trial.

    Args:
        scale: that of other trials, where these are too few to give one.
    """
    usable = [trial for trial in trials if is_usable(experiment, trial)]
    standings = [rank_key(experiment, trial) for trial in usable]
    return [usable[i] for i in order(experiment, standings, scale=scale)]


def best_first(judged: Judged, trials: Iterable[Trial]) -> list[Trial]:
    """Return the usable trials of a problem with one objective, best first, as `rank` does."""
    usable = [trial for trial in trials if is_usable(judged, trial)]
    return sorted(usable, key=lambda trial: rank_key(judged, trial).exact)


def best_variant(experiment: Experiment, variants: Sequence[Variant]) -> int:
    """Return the place of the best artefact of one trial; the first where none is usable."""
    trials = [
        Trial(v.title, i, TrialState.SUCCEEDED, {}, metrics=v.metrics, intervals=v.intervals)
        for i, v in enumerate(variants)
    ]
    return next((trial.number for trial in rank(experiment, trials)), 0)


def winner(experiment: Experiment, trials: Iterable[Trial]) -> Trial | None:
    """Return the best trial that satisfies the constraints, or None."""
    best = next(iter(rank(experiment, trials)), None)
    if best is None or violation(experiment, best) > 0:
        return None
    return best


def order(
    experiment: Experiment, standings: Sequence[RankKey], *, scale: Scale | None = None
) -> list[int]:
    """Return the positions of the standings, best first."""
    places = sorted(range(len(standings)), key=lambda i: standings[i].exact)
    if len(experiment.objective) == 1:
        return places
    allowed = [i for i in places if standings[i].violation == 0]
    clear = [i for i in allowed if not standings[i].is_undecided]
    undecided = [i for i in allowed if standings[i].is_undecided]
    missed = [i for i in places if standings[i].violation > 0]
    return [
        *_by_fronts(experiment, standings, clear, scale),
        *_by_fronts(experiment, standings, undecided, scale),
        *missed,
    ]


def _by_fronts(
    experiment: Experiment,
    standings: Sequence[RankKey],
    places: Sequence[int],
    scale: Scale | None,
) -> list[int]:
    """Return places Pareto front by Pareto front, each ordered by the rule of the experiment."""
    points = [standings[i].point for i in places]
    layers = [sorted(layer) for layer in fronts(points)]
    if not layers:
        return []
    scale = scale or _scale([points[j] for j in layers[0]])
    return [
        places[layer[place]]
        for layer in layers
        for place in _by_rule(experiment, [points[j] for j in layer], scale)
    ]


def scale_of(experiment: Experiment, trials: Iterable[Trial]) -> Scale:
    """Return the scale of the Pareto front of the trials that satisfy the constraints."""
    usable = [trial for trial in trials if is_usable(experiment, trial)]
    found = [s.point for t in usable if not (s := rank_key(experiment, t)).violation]
    return _scale([found[i] for layer in fronts(found)[:1] for i in layer])


def pareto_front(objectives: Sequence[Objective], trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that no other trial beats in one objective without losing in another."""
    points = [signed(objectives, trial.metrics) for trial in trials]
    return [trials[i] for layer in fronts(points)[:1] for i in sorted(layer)]


def fronts(points: Sequence[ObjectiveVector]) -> list[list[int]]:
    """Return the positions of the points, front by front.

    No point of the first front is dominated; none of the second is, once the first is taken
    away; and so on. This is the efficient non-dominated sort ENS-BS (Zhang et al. 2015): in
    descending order no point is dominated by a later one, so each is put into the first front
    that has nothing to dominate it, which bisection finds.
    """
    found: list[list[int]] = []
    for i in sorted(range(len(points)), key=lambda i: points[i], reverse=True):
        place = bisect_left(found, True, key=partial(_is_free, points, points[i]))
        if place == len(found):
            found.append([])
        found[place].append(i)
    return found


def signed(objectives: Sequence[Objective], metrics: Metrics) -> ObjectiveVector:
    """Return the values of the objectives, signed so that more is better."""
    return tuple(o.sign() * o.value(metrics) for o in objectives)


def _verdicts(experiment: Judged, found: Known) -> dict[str, Verdict]:
    return {constraint: judged(constraint, found) for constraint in experiment.constraints}


def _missed_by(found: Known, verdicts: dict[str, Verdict]) -> float:
    missed = (c for c, known in verdicts.items() if known is Verdict.MISSED)
    return math.fsum(max(0.0, Constraint(c).violation(found.metrics)) for c in missed)


def _may_be_missed(verdicts: dict[str, Verdict]) -> bool:
    known = set(verdicts.values())
    return Verdict.MISSED not in known and Verdict.UNDECIDED in known


def rank_key(experiment: Judged, trial: Trial) -> RankKey:
    """Return what a usable trial is ranked by."""
    verdicts = _verdicts(experiment, trial)
    return RankKey(
        point=signed(experiment.objective, trial.metrics),
        violation=_missed_by(trial, verdicts),
        size=trial.metrics.get("model_size_mb", math.inf),
        number=trial.number,
        is_undecided=_may_be_missed(verdicts),
    )


def _scale(front: Sequence[ObjectiveVector]) -> Scale:
    columns = list(zip(*front, strict=True))
    return Scale(tuple(map(max, columns)), tuple(map(min, columns)))


def _by_rule(experiment: Experiment, front: Sequence[ObjectiveVector], scale: Scale) -> list[int]:
    """Return the positions in one front, best first, equal ones in the order given."""
    rule = experiment.selection_rule
    names = [o.name for o in experiment.objective]
    if isinstance(rule, SelectLexicographic):
        steps = [(names.index(name), rule.tolerance.get(name, 0.0)) for name in rule.order]
        return _lexicographic(front, steps)
    weights = [rule.weights[n] if isinstance(rule, SelectWeights) else 1.0 for n in names]
    merits = [sum(map(mul, weights, scale.scaled(point))) for point in front]
    return sorted(range(len(front)), key=lambda i: -merits[i])


def _lexicographic(
    front: Sequence[ObjectiveVector], steps: Sequence[tuple[int, float]]
) -> list[int]:
    """Choose one after the other, each as if those before it were not there.

    Args:
        steps: the columns in the order in which they are compared, each with its tolerance.
    """
    left = sorted(range(len(front)), key=lambda i: [-front[i][column] for column, _ in steps])
    chosen: list[int] = []
    while left:
        near = left
        for column, tolerance in steps:
            best = max(front[i][column] for i in near)
            near = [i for i in near if _is_near(front[i][column], best, tolerance)]
        chosen.append(near[0])
        left.remove(near[0])
    return chosen


def _is_near(value: float, best: float, tolerance: float) -> bool:
    gap = best - value
    return gap <= tolerance or math.isclose(gap, tolerance)  # 0.91 - 0.01 is not quite 0.9


def _dominates(one: ObjectiveVector, other: ObjectiveVector) -> bool:
    return one != other and all(a >= b for a, b in zip(one, other, strict=True))


def _is_free(
    points: Sequence[ObjectiveVector], point: ObjectiveVector, front: Sequence[int]
) -> bool:
    """Return whether no member of a front dominates a point."""
    return not any(_dominates(points[i], point) for i in reversed(front))
