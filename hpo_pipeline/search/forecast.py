"""What a learning curve will still reach, by the curves that went to their end.

The gain from a step to the end of a training is a Gaussian process of where the curve is at the
step and how fast it rises there, in the spirit of Domhan et al. (IJCAI 2015), who extrapolate each
curve by itself, and of freeze-thaw (Swersky et al., 2014), whose process is one of curves. It needs
no shape of the curves, two of them suffice, and far from all of them it is unsure, so that what
looks like no other curve continues. Before there are two, a curve is taken to rise with the
logarithm of its steps, or to flatten, as far as that of half of them tells.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Curve = Mapping[int, float]
"""Values by step, of which the highest is the best."""
NOISE = 0.25
"""Share of the gain that where a curve is and how it rises do not explain."""
SLOWING, DOUBT = 0.5, 0.25
"""Of the gain if a curve kept rising with the logarithm of its steps, the share that is expected,
which is as uncertain; and the share of the spread of all curves that is uncertain besides. With
them, of four recorded curves at their second step of twelve, half are told from the best, which
is lost in one case of sixteen."""
PEERS = 2
"""How many other curves must have come as far for a curve to be judged by its own rise."""
_FLOOR = 1e-3


@dataclass(frozen=True)
class Forecast:
    """The best value that a curve will have at its end."""

    mean: float
    deviation: float

    def chance_above(self, value: float) -> float:
        """Return the probability that the curve ends above a value."""
        return 0.5 * math.erfc((value - self.mean) / (self.deviation * math.sqrt(2)))


class Forecaster:
    """Forecasts of curves, by those that went to their end and those that went part of it."""

    def __init__(self, ended: Sequence[Curve], cut: Sequence[Curve] = ()) -> None:
        """Take curves to their end, and others, which only say how widely curves spread."""
        self._ended = [(curve, max(curve.values())) for curve in ended if curve]
        self._cut = [curve for curve in cut if curve]
        self._places: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    def forecast(
        self, curve: Curve, least: int = 1, *, longest: int | None = None
    ) -> Forecast | None:
        """Return what a curve will reach.

        Where fewer than `least` went further than it, its own rise has to say it: None where
        `longest`, the step at its end, is not known, or no other curves came as far.
        """
        if not curve:
            return None
        step = max(curve)
        places, gains, others = self._known(step)
        own = _place(curve, step)
        together = np.vstack([places, others, own])
        spread = np.std(together, axis=0) + _FLOOR
        if len(gains) < least:
            is_known = longest is not None and len(together) > PEERS
            return _by_itself(own, step, longest or 0, float(spread[0])) if is_known else None
        size = math.sqrt(float(np.mean(gains**2))) + _FLOOR
        mean = float(np.mean(gains))
        likeness = _likeness(places / spread, places / spread)
        near = _likeness(own[None] / spread, places / spread)[0]
        weights = np.linalg.solve(likeness + NOISE**2 * np.eye(len(gains)), near)
        gain = mean + float(weights @ (gains - mean))
        variance = max(1 - float(weights @ near), 0.0) + NOISE**2
        return Forecast(float(own[0]) + max(gain, 0.0), size * math.sqrt(variance))

    def _known(self, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the places of ended curves at a step, their gains from there, and other places."""
        if step not in self._places:
            ended = [(_place(c, step), end) for c, end in self._ended if max(c) > step]
            places = np.array([place for place, _ in ended]).reshape(-1, 2)
            gains = np.array([end - place[0] for place, end in ended])
            others = [_place(c, step) for c in self._cut if max(c) >= step]
            self._places[step] = (places, gains, np.array(others).reshape(-1, 2))
        return self._places[step]


def _place(curve: Curve, step: int) -> np.ndarray:
    """Return the best value up to a step, and how much of it came in the latter half."""
    best = max((v for s, v in curve.items() if s <= step), default=-math.inf)
    early = [v for s, v in curve.items() if s <= step - max(1, step // 2)]
    before = max(early) if early else curve[min(curve)]
    return np.array([best, best - before])


def _by_itself(own: np.ndarray, step: int, longest: int, spread: float) -> Forecast:
    """Return what a curve will reach by its own rise."""
    rise = float(own[1]) * math.log2(max(longest / step, 1.0))
    return Forecast(float(own[0]) + SLOWING * rise, SLOWING * rise + DOUBT * spread + _FLOOR)


def _likeness(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.exp(-0.5 * np.sum((first[:, None] - second[None]) ** 2, axis=-1))
    return found
