"""The hypervolume against areas that can be counted by hand."""

from __future__ import annotations

import pytest

from hpo_pipeline.experiment.objective import Objective
from hpo_pipeline.search.hypervolume import hypervolume, reference_point
from tests.toys import toy_trial

OBJECTIVES = [
    Objective(metric="accuracy", goal="maximize"),
    Objective(metric="latency_p95_ms", goal="minimize"),
]
TRIALS = [
    toy_trial(i, accuracy=accuracy, latency_p95_ms=latency)
    for i, (accuracy, latency) in enumerate([(0.9, 8.0), (0.5, 2.0), (0.4, 9.0)])
]


def test_the_area_of_two_overlapping_rectangles() -> None:
    # 0.9 x 2 and 0.5 x 8, which share 0.5 x 2; the third is dominated.
    assert hypervolume(OBJECTIVES, TRIALS, (0.0, 10.0)) == pytest.approx(4.8)


def test_the_reference_is_the_worst_value_of_each_objective() -> None:
    reference = reference_point(OBJECTIVES, TRIALS)
    assert reference == (0.4, 9.0)
    # 0.5 x 1 and 0.1 x 7, which share 0.1 x 1
    assert hypervolume(OBJECTIVES, TRIALS, reference) == pytest.approx(1.1)


def test_what_is_not_better_than_the_reference_adds_nothing() -> None:
    assert hypervolume(OBJECTIVES, TRIALS, (0.9, 2.0)) == 0.0
    assert hypervolume(OBJECTIVES, [], (0.0, 10.0)) == 0.0


def test_no_trial_has_no_worst_value() -> None:
    with pytest.raises(ValueError, match="at least one trial"):
        reference_point(OBJECTIVES, [])
