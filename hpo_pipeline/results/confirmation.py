"""Confirming the best configurations: which are trained again with other seeds, and who wins then.

The best of many noisy trials owes part of its result to luck, so the trials of the search only
decide which configurations are tried again; their own results do not count. All get the same
seeds, so that what a seed does to all of them cancels out of the comparison. How a run is
started is the engine's; what is here are pure functions of the results.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hpo_pipeline.experiment.objective import Objective
from hpo_pipeline.experiment.schema import MAX_SEEDS, Experiment
from hpo_pipeline.results.baseline import baseline_trial
from hpo_pipeline.results.outcome import Confirmed
from hpo_pipeline.results.ranking import (
    RankKey,
    Scale,
    is_usable,
    order,
    rank,
    scale_of,
    violation,
)
from hpo_pipeline.results.trial import Trial


@dataclass(frozen=True)
class Replicate:
    """A configuration of the search that is trained with a seed of its own.

    Name and number follow from trial and seed alone, so that a result stays the same run's
    however the ranking of the search changes.
    """

    trial: Trial
    seed: int
    number: int

    @property
    def name(self) -> str:
        """The name of the run, and of its folder."""
        return f"{self.trial.name}-s{self.seed}"


def replicate_of(experiment: Experiment, trial: Trial, seed: int) -> Replicate:
    """Return the run of a trial's configuration with a seed, from that of the search on."""
    return Replicate(trial, seed, trial.number * (MAX_SEEDS + 1) + seed - experiment.search.seed)


def planned(experiment: Experiment, trials: Sequence[Trial]) -> list[Replicate]:
    """Return the runs that confirm the best configurations that satisfy the constraints."""
    if experiment.confirm is None:
        return []
    first = experiment.search.seed + 1
    seeds = range(first, first + experiment.confirm.seeds)
    chosen = _top(experiment, trials)
    baseline = baseline_trial(experiment, trials)
    if chosen and baseline is not None and is_usable(experiment, baseline):
        # With the same seeds, for what is said of the gain over it; it may win, too.
        chosen += [baseline] if baseline not in chosen else []
    return [replicate_of(experiment, trial, seed) for trial in chosen for seed in seeds]


def difference(
    objective: Objective, one: Confirmed, other: Confirmed
) -> tuple[float, float, float] | None:
    """Return what one configuration gains over another in the mean over seeds, with its interval.

    The interval is that of Welch's t (1947), at 95 %; None where one has fewer than two seeds.
    """
    name, counts = objective.name, (len(one.seeds), len(other.seeds))
    if min(counts) < 2 or name not in one.std or name not in other.std:
        return None
    gain = objective.sign() * (one.mean[name] - other.mean[name])
    parts = [c.std[name] ** 2 / n for c, n in zip((one, other), counts, strict=True)]
    spread = sum(parts)
    if spread == 0:
        return gain, gain, gain
    free = spread**2 / sum(p**2 / (n - 1) for p, n in zip(parts, counts, strict=True))
    from scipy.stats import t

    half = float(t.ppf(0.975, free)) * spread**0.5
    return gain, gain - half, gain + half


def confirm(
    experiment: Experiment, trials: Sequence[Trial], runs: Iterable[Trial]
) -> tuple[Confirmed, ...]:
    """Return the configurations that have runs, best mean first.

    Those with a run that failed, or is still to come, stand at the end: what trains with some
    seeds only is not to be relied on.
    """
    by_name = {run.name: run for run in runs}
    done: dict[str, list[Replicate]] = {}
    for run in planned(experiment, trials):
        if run.name in by_name:
            done.setdefault(run.trial.name, []).append(run)
    scale = scale_of(experiment, trials)
    found = [
        _summary(experiment, runs[0].trial, {r.seed: by_name[r.name] for r in runs}, scale)
        for runs in done.values()
    ]
    complete = [c for c in found if _is_complete(experiment, c)]
    places = order(experiment, [_rank_key(experiment, c) for c in complete], scale=scale)
    return (*(complete[i] for i in places), *(c for c in found if c not in complete))


def confirmed_winner(experiment: Experiment, confirmed: Sequence[Confirmed]) -> Confirmed | None:
    """Return the best configuration whose means satisfy the constraints, or None."""
    for found in confirmed[:1]:
        if _is_complete(experiment, found) and violation(experiment, found) == 0:
            return found
    return None


def no_winner(experiment: Experiment, confirmed: Sequence[Confirmed]) -> str:
    """Say why no configuration was confirmed."""
    if any(_is_complete(experiment, found) for found in confirmed):
        return (
            f"none of the {len(confirmed)} confirmed configurations satisfies the constraints on "
            f"the mean of its seeds; raise confirm.top, or relax the constraints"
        )
    reasons = dict.fromkeys(reason for found in confirmed for reason in found.failed.values())
    return f"no configuration trained with all seeds: {'; '.join(list(reasons)[:3])}"


def _top(experiment: Experiment, trials: Sequence[Trial]) -> list[Trial]:
    """Return the best trials whose configurations differ, within the constraints."""
    assert experiment.confirm is not None
    feasible = (t for t in rank(experiment, trials) if violation(experiment, t) == 0)
    distinct: list[Trial] = []
    for trial in feasible:
        if all(trial.assignments != other.assignments for other in distinct):
            distinct.append(trial)
        if len(distinct) == experiment.confirm.top:
            break
    return distinct


def _summary(
    experiment: Experiment, trial: Trial, done: Mapping[int, Trial], scale: Scale
) -> Confirmed:
    usable = {seed: run for seed, run in done.items() if is_usable(experiment, run)}
    names = set.intersection(*(set(run.metrics) for run in usable.values())) if usable else set()
    values = {n: [r.metrics[n] for r in usable.values()] for n in sorted(names)}
    ranked = rank(experiment, usable.values(), scale=scale)
    return Confirmed(
        trial=trial.name,
        assignments=trial.assignments,
        seeds=tuple(usable),
        mean={name: statistics.fmean(column) for name, column in values.items()},
        std={n: statistics.stdev(column) for n, column in values.items() if len(column) > 1},
        failed={
            str(seed): run.reason or "no finite objective"
            for seed, run in done.items()
            if seed not in usable
        },
        # Of the middle two, where there are two, the worse one.
        median=ranked[len(ranked) // 2].name if ranked else None,
    )


def _is_complete(experiment: Experiment, found: Confirmed) -> bool:
    return experiment.confirm is not None and len(found.seeds) == experiment.confirm.seeds


def _rank_key(experiment: Experiment, found: Confirmed) -> RankKey:
    # A formula's mean over the runs is in the means as `score`, as its value is in the metrics.
    point = tuple(o.sign() * found.mean[o.name] for o in experiment.objective)
    size = found.mean.get("model_size_mb", math.inf)
    return RankKey(point, violation(experiment, found), size, number=0)
