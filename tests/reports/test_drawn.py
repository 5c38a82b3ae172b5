"""Which trials of a long search the charts draw."""

from __future__ import annotations

from hpo_pipeline.reports.html.drawn import drawn, note
from hpo_pipeline.results.trial import TrialState
from tests.toys import toy_experiment, toy_trial

MADE = toy_experiment()
TRIALS = [
    toy_trial(n, accuracy=0.9 - abs(n - 431) / 1000, latency_p95_ms=5 + n % 7) for n in range(900)
]


def test_a_short_search_is_drawn_whole() -> None:
    assert drawn(MADE, TRIALS[:30], most=40) == tuple(TRIALS[:30])
    assert note(TRIALS[:30], TRIALS[:30]) == ""


def test_of_a_long_one_what_a_reader_looks_for_is_drawn_and_some_of_the_rest() -> None:
    failed = [toy_trial(n, state=TrialState.FAILED) for n in range(900, 1000)]
    shown = drawn(MADE, [*TRIALS, *failed], always={"toy-7"}, most=120, best=20)
    numbers = [trial.number for trial in shown]
    assert numbers == sorted(numbers)
    assert {7, 0, *range(422, 441)} <= set(numbers)
    assert sum(n < 400 for n in numbers) >= 50, "each of the first was a record"
    assert any(441 < n < 900 for n in numbers)
    assert any(n >= 900 for n in numbers)
    assert len(shown) <= 120
    assert "of the 1,000 trials" in note([*TRIALS, *failed], shown)
