"""How often something is timed: until its quantiles are known well enough, or time is up.

Within one process the interval of a quantile is that of the order statistics: whatever the
distribution, the true quantile is between the samples of two ranks, which the binomial distribution
gives (David and Nagaraja, "Order Statistics", 2003, section 7.1). Samples have to be independent
for that, so rows are taken in a random order.

But the same model is faster in one process than in another, for its memory lies elsewhere
(Mytkowicz et al., "Producing wrong data without doing anything obviously wrong", ASPLOS 2009), so
times are taken in several processes, which are what repeats (Kalibera and Jones, "Rigorous
benchmarking in reasonable time", ISMM 2013). Of them the interval is the one that the next process
falls into in 95 of 100 cases: the prediction interval of a normal distribution (Hahn and Meeker,
"Statistical Intervals", 1991, chapter 4) of the logarithms, for a time is off by a share of it.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy.special import bdtr, stdtrit

T = TypeVar("T")

CONFIDENCE = 0.95
EARLY_CONFIDENCE = 0.99
"""Of the look that may end the sampling early: the more often one looks, the surer it must be."""
MIN_SAMPLES = 20
FEWEST = 3
"""Processes, however long they take."""
LEAST_SECONDS = 0.2
"""Of the passes in a process, however fast they are."""
WARM_UP_SECONDS = 0.1
WARM_UP_SAMPLES = 5
GROWTH = 1.2
"""By how much the samples grow between two looks at them."""


@dataclass(frozen=True)
class Estimate:
    """A value with its interval; `high` is None where there are too few samples for one."""

    value: float
    low: float
    high: float | None

    @property
    def width(self) -> float:
        """How far the farther end is from the value, as a share of it."""
        if self.high is None or self.value <= 0:
            return float("inf")
        return max(self.high - self.value, self.value - self.low) / self.value


@dataclass(frozen=True)
class Plan:
    """When sampling ends.

    Attributes:
        width: at most so far, as a share of the value, the ends of the intervals may be off.
        seconds: after which sampling ends in any case, unless a constraint is undecided.
        longest: after which it ends even then.
        least: samples, however long they take.
        warm_up: runs before them, however long they take.
    """

    width: float
    seconds: float
    longest: float
    least: int = MIN_SAMPLES
    warm_up: int = WARM_UP_SAMPLES


@dataclass(frozen=True)
class Processes:
    """In how many processes something is timed, and how long.

    Attributes:
        least, most: processes.
        each: seconds in each of them, after its warm-up.
        width: at most so far, as a share of the value, the ends of the intervals may be off.
        seconds: after which no process begins any more, unless a constraint is undecided.
        longest: after which none begins even then, nor to make up the least: but three there are,
            for the interval of two is so wide that it says nothing.
    """

    least: int
    most: int
    each: float
    width: float
    seconds: float
    longest: float


def across(values: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """Return the geometric mean of what processes gave, and where the next one will be.

    Args:
        values: above 0, one of each process.
    """
    logs = np.log(np.asarray(values, dtype=float))
    count, middle = len(logs), float(logs.mean())
    if count < 2:
        return Estimate(float(np.exp(middle)), 0.0, None)
    away = float(stdtrit(count - 1, (1 + confidence) / 2)) * (1 + 1 / count) ** 0.5
    half = away * float(logs.std(ddof=1))
    return Estimate(*(float(np.exp(end)) for end in (middle, middle - half, middle + half)))


def in_processes(
    run: Callable[[int], T],
    plan: Processes,
    estimates: Callable[[Sequence[T], float], Mapping[str, Estimate]],
    is_clear: Callable[[Mapping[str, Estimate]], bool],
) -> list[T]:
    """Time something in one process after another until it is known well enough.

    Args:
        run: does it in the so-manieth process.
        estimates: of what processes gave, at a confidence.
        is_clear: whether nobody needs to know them better, to judge by them.
    """
    found: list[T] = []
    start = time.perf_counter()
    while len(found) < plan.most:
        found.append(run(len(found)))
        spent = time.perf_counter() - start
        if len(found) < FEWEST:
            continue
        if spent > plan.longest:
            break
        if len(found) < plan.least:
            continue
        known = estimates(found, CONFIDENCE).values()
        if spent <= plan.seconds and any(each.width > plan.width for each in known):
            continue
        if is_clear(estimates(found, EARLY_CONFIDENCE)):
            break
    return found


def quantile(times: Sequence[float], share: float, confidence: float = CONFIDENCE) -> Estimate:
    """Return a quantile of samples with the interval of its order statistics."""
    ordered = np.sort(np.asarray(times, dtype=float))
    count = len(ordered)
    below = bdtr(np.arange(count + 1), count, share)  # of the samples, k or fewer are below it
    tail = (1 - confidence) / 2
    lower = int(np.searchsorted(below, tail))
    upper = int(np.searchsorted(below, 1 - tail)) + 1
    return Estimate(
        value=float(np.quantile(ordered, share)),
        low=float(ordered[lower - 1]) if lower >= 1 else 0.0,
        high=float(ordered[upper - 1]) if upper <= count else None,
    )


def sample(
    run: Callable[[int], float],
    plan: Plan,
    shares: Mapping[str, float],
    is_clear: Callable[[Mapping[str, Estimate]], bool],
) -> list[float]:
    """Time something until its quantiles are known well enough, and return the times.

    Args:
        run: does it for the so-manieth time, and returns how long it took.
        shares: the quantiles that count, by the names of their metrics.
        is_clear: whether nobody needs to know them better, to judge by them.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        warm_up(run, plan.warm_up)
        return _sampled(run, plan, shares, is_clear)
    finally:
        if collects:
            gc.enable()


def _sampled(
    run: Callable[[int], float],
    plan: Plan,
    shares: Mapping[str, float],
    is_clear: Callable[[Mapping[str, Estimate]], bool],
) -> list[float]:
    times: list[float] = []
    start, look, was_late = time.perf_counter(), plan.least, False
    while True:
        times.append(run(len(times)))
        spent = time.perf_counter() - start
        if len(times) < plan.least:
            continue
        if spent > plan.longest:
            return times
        is_late = spent > plan.seconds
        if len(times) < look and is_late == was_late:
            continue
        look, was_late = int(len(times) * GROWTH) + 1, is_late
        if not is_late and any(quantile(times, s).width > plan.width for s in shares.values()):
            continue
        if is_clear({n: quantile(times, s, EARLY_CONFIDENCE) for n, s in shares.items()}):
            return times


def warm_up(run: Callable[[int], object], samples: int = WARM_UP_SAMPLES) -> None:
    """Run something for WARM_UP_SECONDS, and at least so many times."""
    start, done = time.perf_counter(), 0
    while done < samples or time.perf_counter() - start < WARM_UP_SECONDS:
        run(done)
        done += 1
