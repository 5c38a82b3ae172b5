"""The gate: whether a new model replaces the champion, and why.

A pure function after `confirm`. It does not know the registry, nor how the two values were
measured; both must come from the same test rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hpo_pipeline.experiment.objective import Goal

ROUNDING = 1e-9
"""How much a gain may lose by rounding: 0.57 - 0.56 is a little less than 0.01."""


@dataclass(frozen=True)
class Decision:
    """Whether a model becomes champion, and why."""

    promote: bool
    reason: str


@dataclass(frozen=True)
class Significance:
    """In what share of samples of the test rows the gain is large enough, and what is needed.

    Attributes:
        share: None where it cannot be computed, for the `reason`.
    """

    needed: float
    share: float | None
    reason: str = ""

    def words(self, min_gain: float) -> str:
        """Return the share in words, or why there is none."""
        if self.share is None:
            return self.reason
        least = f"of at least {min_gain:.6g} " if min_gain else ""
        # Cut, not rounded: 89.96 % are not 90 %.
        percent = math.floor(self.share * 1000) / 10
        return f"{least}in {percent:g} % of the samples of the test rows"


def decide(
    new_value: float,
    champion_value: float | None,
    *,
    goal: Goal,
    min_gain: float,
    violations: Sequence[str] = (),
    significance: Significance | None = None,
) -> Decision:
    """Decide by the objective on the held-out test rows.

    Args:
        new_value: the objective of the new model.
        champion_value: the objective of the champion, or None where there is none.
        goal: which direction is better.
        min_gain: the smallest gain that is enough; with 0 the champion must still be beaten.
        violations: the constraints that the new model misses on the test rows.
        significance: how surely the gain is at least so large, where that is asked.
    """
    if violations:
        missed = "; ".join(violations)
        return Decision(False, f"stays candidate: on the test rows it misses {missed}")
    if not math.isfinite(new_value):
        return Decision(False, f"stays candidate: its test objective is not finite ({new_value})")
    if champion_value is None:
        return Decision(True, f"champion: the first one, with {new_value:.6g} on the test rows")
    if not math.isfinite(champion_value):
        return Decision(
            True,
            f"champion: {new_value:.6g} on the test rows; the champion has no finite value",
        )
    gain = new_value - champion_value if goal == "maximize" else champion_value - new_value
    facts = (
        f"{new_value:.6g} against {champion_value:.6g} of the champion on the same test rows "
        f"({goal}), a gain of {gain:.6g}"
    )
    if gain <= 0:
        return Decision(False, f"stays candidate: {facts}; the champion must be beaten")
    if gain < min_gain - ROUNDING:
        return Decision(False, f"stays candidate: {facts}; at least {min_gain:.6g} is required")
    if significance is None:
        return Decision(True, f"champion: {facts}")
    words, needed = significance.words(min_gain), f"{significance.needed:.0%} are required"
    if significance.share is None:
        return Decision(
            False, f"stays candidate: {facts}; how sure that is cannot be said: {words}"
        )
    if significance.share < significance.needed:
        return Decision(False, f"stays candidate: {facts}, {words}; {needed}")
    return Decision(True, f"champion: {facts}, {words} ({needed})")
