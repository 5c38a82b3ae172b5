"""How often something is timed: until its quantiles are known well enough, or time is up.

The interval of a quantile is that of the order statistics: whatever the distribution, the true
quantile is between the samples of two ranks, which the binomial distribution gives (David and
Nagaraja, "Order Statistics", 2003, section 7.1). Samples have to be independent for that, so rows
are taken in a random order.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr

CONFIDENCE = 0.95
EARLY_CONFIDENCE = 0.99
"""Of the look that may end the sampling early: the more often one looks, the surer it must be."""
MIN_SAMPLES = 20
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
        _warm_up(run, plan.warm_up)
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


def _warm_up(run: Callable[[int], float], samples: int) -> None:
    start, done = time.perf_counter(), 0
    while done < samples or time.perf_counter() - start < WARM_UP_SECONDS:
        run(done)
        done += 1
