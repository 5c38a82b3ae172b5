"""Constraints on values that are known within intervals."""

from __future__ import annotations

import pytest

from hpo_pipeline.experiment.verdict import Interval, Verdict, verdict

MET, UNDECIDED, MISSED = Verdict.MET, Verdict.UNDECIDED, Verdict.MISSED


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        ((4.0, 5.0), MET),
        ((4.0, 5.1), UNDECIDED),
        ((5.1, 6.0), MISSED),
        ((4.0, None), UNDECIDED),
        ((5.1, None), MISSED),
    ],
)
def test_a_constraint_is_judged_by_both_ends(interval: Interval, expected: Verdict) -> None:
    metrics = {"latency_p95_ms": 4.5, "size": 1.0}
    assert verdict("latency_p95_ms <= 5", metrics, {"latency_p95_ms": interval}) is expected
    assert verdict("5 >= latency_p95_ms", metrics, {"latency_p95_ms": interval}) is expected


def test_without_an_interval_the_value_decides() -> None:
    assert verdict("a < 1", {"a": 0.5}, {}) is MET
    assert verdict("a < 1", {"a": 1.0}, {"b": (0.0, 9.0)}) is MISSED
    assert verdict("a < 1", {}, {"a": (0.0, 0.5)}) is MISSED  # a value that is not there


def test_a_formula_is_judged_at_all_corners() -> None:
    metrics, intervals = {"a": 2.0, "b": 1.0}, {"a": (1.5, 2.5), "b": (0.5, 1.5)}
    assert verdict("a - b <= 2", metrics, intervals) is MET
    assert verdict("a - b <= 1.9", metrics, intervals) is UNDECIDED
    assert verdict("a - b <= -0.1", metrics, intervals) is MISSED
