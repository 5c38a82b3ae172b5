"""The first line of a report: what tuning gained, at what cost, and whether that is noise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hpo_pipeline.reports.worth import worth
from hpo_pipeline.results.bootstrap import Gain
from hpo_pipeline.results.outcome import Confirmed, SearchResult, Winner
from tests.toys import toy_experiment, toy_trial

EXPERIMENT = toy_experiment(baseline={"learning_rate": 5e-5})
TRIALS = tuple(replace(toy_trial(n, accuracy=0.5), seconds={"train": 30.0}) for n in range(4))
WINNER = Winner("toy-2", {"learning_rate": 1e-3}, {"accuracy": 0.9})


def result(gain: Gain | None, note: str = "", **more: Any) -> SearchResult:
    return SearchResult(
        "toy",
        "succeeded",
        90.0,
        TRIALS,
        WINNER,
        baseline="toy-0",
        gain=gain,
        gain_note=note,
        **more,
    )


def test_a_gain_beyond_noise_is_said_with_interval_and_cost() -> None:
    said = worth(EXPERIMENT, result(Gain(0.75, 0.7, 0.05, 0.01, 0.09, 1000)))
    assert said == (
        "Tuning gained 0.05 accuracy over the baseline on 1,000 test rows (0.7500 against 0.7000; "
        "95 % interval +0.01 to +0.09), at the cost of 3 more trials, 1 min 30 s of training "
        "and measuring."
    )


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (Gain(0.75, 0.74, 0.01, -0.02, 0.04, 60), "on 60 test rows, within noise (0.7500 against"),
        (
            Gain(0.7, 0.75, -0.05, -0.09, -0.01, 60),
            "Tuning lost 0.05 accuracy over the",
        ),
        (
            Gain(0.7, 0.6, 0.1, rows=30, reason="an interval needs 50 test rows, and there are 30"),
            "(0.7000 against 0.6000; an interval needs 50 test rows, and there are 30)",
        ),
        (Gain(0.7, float("nan"), float("nan")), "cannot be compared with the baseline on the test"),
    ],
)
def test_noise_losses_and_missing_intervals_are_said_plainly(gain: Gain, words: str) -> None:
    assert words in (worth(EXPERIMENT, result(gain)) or "")


def test_why_nothing_is_known_is_said_and_nothing_where_none_is_wanted() -> None:
    failed = worth(EXPERIMENT, result(None, "the baseline failed: out of memory"))
    assert failed == "Was tuning worth it? Not known: the baseline failed: out of memory."
    won = replace(result(None, "the baseline won: no other did better"), baseline="toy-2")
    assert worth(EXPERIMENT, won) == "the baseline won: no other did better."
    assert worth(toy_experiment(), result(None)) is None
    assert worth(EXPERIMENT, replace(result(None), winner=None)) is None


def test_means_over_seeds_are_compared_where_both_were_confirmed() -> None:
    def confirmed(trial: str, mean: float) -> Confirmed:
        values = {"mean": {"accuracy": mean}, "std": {"accuracy": 0.02}}
        return Confirmed(trial, {}, (1, 2, 3), **values, failed={}, median=None)

    both = (confirmed("toy-2", 0.9), confirmed("toy-0", 0.8))
    said = worth(EXPERIMENT, result(Gain(0.75, 0.7, 0.05, 0.01, 0.09, 99), confirmed=both)) or ""
    # t of 0.975 with 4 degrees of freedom is 2.776, and the deviation of the difference 0.01633.
    assert "Over 3 seeds each on the validation rows: +0.1 accuracy (95 % interval" in said
    assert "+0.0547 to +0.145" in said
