"""The gate's rule, and the reasons it gives."""

from __future__ import annotations

import math

import pytest

from hpo_pipeline.experiment.objective import Goal
from hpo_pipeline.registry.gate import Significance, decide


@pytest.mark.parametrize(
    ("new", "champion", "goal", "min_gain", "promote"),
    [
        (0.50, None, "maximize", 0.0, True),
        (0.91, 0.90, "maximize", 0.0, True),
        (0.90, 0.90, "maximize", 0.0, False),
        (0.89, 0.90, "maximize", 0.0, False),
        (0.91, 0.90, "minimize", 0.0, False),
        (0.89, 0.90, "minimize", 0.0, True),
        (0.57, 0.56, "maximize", 0.01, True),
        (0.56, 0.57, "minimize", 0.01, True),
        (0.569, 0.56, "maximize", 0.01, False),
        (math.nan, None, "maximize", 0.0, False),
        (math.inf, 0.9, "maximize", 0.0, False),
        (0.5, math.nan, "maximize", 0.0, True),
    ],
)
def test_only_the_better_one_is_promoted(
    new: float, champion: float | None, goal: Goal, min_gain: float, promote: bool
) -> None:
    assert decide(new, champion, goal=goal, min_gain=min_gain).promote is promote


def test_a_missed_constraint_is_the_reason() -> None:
    violations = ["latency_p95_ms <= 15 (18.2)"]
    decision = decide(0.99, None, goal="maximize", min_gain=0.0, violations=violations)
    assert not decision.promote
    assert decision.reason.endswith("on the test rows it misses latency_p95_ms <= 15 (18.2)")


def test_the_reason_has_both_values_and_the_gain() -> None:
    reason = decide(0.905, 0.9, goal="maximize", min_gain=0.01).reason
    assert "0.905 against 0.9" in reason
    assert "a gain of 0.005; at least 0.01 is required" in reason


@pytest.mark.parametrize(
    ("share", "reason", "promote", "words"),
    [
        (0.972, "", True, "a gain of 0.03, of at least 0.005 in 97.2 % of the samples of the test"),
        (0.8999, "", False, "in 89.9 % of the samples of the test rows; 90% are required"),
        (None, "there are 30 rows", False, "how sure that is cannot be said: there are 30 rows"),
    ],
)
def test_a_gain_must_be_as_sure_as_is_asked(
    share: float | None, reason: str, promote: bool, words: str
) -> None:
    sure = Significance(0.9, share, reason)
    found = decide(0.91, 0.88, goal="maximize", min_gain=0.005, significance=sure)
    assert found.promote is promote
    assert words in found.reason


def test_an_equal_one_must_do_better() -> None:
    assert "must be beaten" in decide(0.9, 0.9, goal="maximize", min_gain=0.0).reason
