"""Sampling: intervals that hold, and an end that comes early where the answer is clear."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from hpo_pipeline.trial.measuring.practical_metrics import Finished, throughput_per_s
from hpo_pipeline.trial.measuring.purpose import (
    JUDGED,
    LATENCIES,
    QUOTED,
    READ,
    SHOWN,
    UNREAD,
    Purpose,
)
from hpo_pipeline.trial.measuring.requests import requests
from hpo_pipeline.trial.measuring.sampling import (
    FEWEST,
    MIN_SAMPLES,
    Estimate,
    Plan,
    Processes,
    across,
    in_processes,
    quantile,
    sample,
)


@pytest.mark.parametrize(("share", "count"), [(0.5, 40), (0.9, 100), (0.95, 300)])
def test_an_interval_has_the_true_quantile_in_19_of_20_cases(share: float, count: int) -> None:
    generator = np.random.default_rng(0)
    true = float(np.exp(np.quantile(generator.normal(size=1_000_000), share)))
    held = 0
    for _ in range(500):
        found = quantile(list(np.exp(generator.normal(size=count))), share)
        assert found.high is not None
        assert found.low <= found.value <= found.high
        held += found.low <= true <= found.high
    assert held >= 0.94 * 500


def test_the_ranks_are_those_of_the_binomial_distribution() -> None:
    found = quantile(list(range(1, 101)), 0.5)
    assert (found.low, found.high) == (40, 61)  # as tables have them
    assert quantile(list(range(1, 72)), 0.95).high is None
    assert quantile(list(range(1, 73)), 0.95).high == 72  # 0.95 ** 72 is below 0.025
    assert quantile([1.0], 0.5) == Estimate(1.0, 0.0, None)


def drawn(spread: float) -> Callable[[int], float]:
    """Return what takes 10 ms in the mean, with a spread, and no time at all really."""
    rng = random.Random(0)
    return lambda i: rng.uniform(10 - spread, 10 + spread)


def unclear(found: Mapping[str, Estimate]) -> bool:
    """Say that nothing is decided."""
    return False


def test_a_narrow_spread_needs_few_samples_and_a_wide_one_more() -> None:
    plan = Plan(width=0.02, seconds=5.0, longest=5.0)
    few, many = (
        len(sample(drawn(spread), plan, {"a": 0.5}, lambda found: True)) for spread in (0.1, 5.0)
    )
    assert MIN_SAMPLES <= few < many


def test_an_undecided_answer_is_sampled_longer_but_not_for_ever() -> None:
    plan = Plan(width=0.5, seconds=0.05, longest=0.3)
    start = time.perf_counter()
    short = len(sample(drawn(1.0), plan, LATENCIES, lambda found: True))
    early = time.perf_counter() - start
    start = time.perf_counter()
    long = len(sample(drawn(1.0), plan, LATENCIES, unclear))
    assert short < long
    assert early < time.perf_counter() - start < 3.0


def test_slow_runs_are_timed_often_enough() -> None:
    assert len(sample(lambda i: 1.0, Plan(0.1, 0.0, 0.0), LATENCIES, unclear)) == MIN_SAMPLES


def test_what_is_clear_is_said_of_constraints_on_the_latency() -> None:
    purpose = Purpose(
        frozenset({"latency_p95_ms"}), ("latency_p95_ms <= 5", "f1 >= 0.9"), {"f1": 1}
    )
    assert purpose.plan is READ
    assert purpose.is_clear({"latency_p95_ms": Estimate(3.0, 2.9, 3.1)})
    assert purpose.is_clear({"latency_p95_ms": Estimate(9.0, 8.9, None)})
    assert not purpose.is_clear({"latency_p95_ms": Estimate(5.0, 4.9, 5.1)})
    assert purpose.processes is JUDGED
    assert Purpose().plan is UNREAD
    assert Purpose().processes is None
    assert Purpose(is_final=True).processes is SHOWN
    assert replace(purpose, is_final=True).processes is QUOTED
    of_hours, of_seconds = replace(purpose, trained=7200.0), replace(purpose, trained=1.0)
    assert of_hours.processes == JUDGED
    short = of_seconds.processes
    assert short is not None
    assert short.least == FEWEST
    assert short.longest == JUDGED.longest / 5
    large = Purpose(constraints=("latency_p95_ms <= 5", "model_size_mb <= 20"))
    assert large.is_clear({"latency_p95_ms": Estimate(5.0, 4.9, 5.1)}, size=21.0)


def row(length: int) -> dict[str, object]:
    """Return a row of tokens."""
    return {"input_ids": [*range(length)], "attention_mask": [1] * length, "labels": 1}


def test_requests_are_rows_of_all_lengths_in_random_order() -> None:
    rows = [row(i) for i in range(1, 1001)]
    found = requests(rows, count=100, size=2, lengths=None, rng=random.Random(0))
    lengths = [len(each["input_ids"]) for request in found for each in request]
    assert len(found) == 100
    assert sorted(lengths) == list(range(3, 1001, 5))
    assert lengths != sorted(lengths)
    few = requests(rows[:3], count=6, size=1, lengths=None, rng=random.Random(0))
    assert sorted(len(each["input_ids"]) for (each,) in few) == [1, 1, 2, 2, 3, 3]


def test_requests_can_have_lengths_that_the_data_have_not() -> None:
    found = requests([row(3)], count=200, size=1, lengths=(16, 64), rng=random.Random(0))
    lengths = {len(each["input_ids"]) for (each,) in found}
    assert (min(lengths), max(lengths)) == (16, 64)
    (first,) = found[0]
    assert len(first["attention_mask"]) == len(first["input_ids"])
    assert first["input_ids"][:4] == [0, 1, 2, 0]
    assert first["labels"] == 1


@pytest.mark.parametrize(("reads", "passes"), [(set(), 2), ({"throughput_per_s"}, MIN_SAMPLES)])
def test_slow_batches_are_timed_as_often_as_somebody_reads_them(
    reads: set[str], passes: int
) -> None:
    def slow(model: torch.nn.Module, batch: object) -> None:
        time.sleep(0.09 if not reads else 0.03)

    finished = Finished(
        torch.nn.Linear(1, 1),
        [{"x": 1}],
        lambda rows: {"x": torch.ones(1)},
        forward=slow,
        purpose=Purpose(frozenset(reads)),
    )
    assert len(finished.batch_seconds) == passes
    found = throughput_per_s(finished)
    if not reads:  # nobody asked for it, and one process says nothing of others
        assert isinstance(found, float)
        return
    assert isinstance(found, Estimate)
    assert 0 < found.low <= found.value <= (found.high or 0)


@pytest.mark.parametrize("spread", [0.01, 0.03])
def test_nineteen_of_twenty_intervals_hold_the_next_process(spread: float) -> None:
    rng = np.random.default_rng(1)
    plan = replace(JUDGED, seconds=60.0)
    held = 0
    for _ in range(400):
        found = in_processes(
            lambda i: float(np.exp(rng.normal(0.0, spread))),
            plan,
            lambda found, confidence: {"a": across(found, confidence)},
            lambda found: True,
        )
        estimate = across(found)
        assert JUDGED.least <= len(found) <= JUDGED.most
        assert estimate.high is not None
        held += estimate.low <= float(np.exp(rng.normal(0.0, spread))) <= estimate.high
    assert held >= 0.93 * 400


def test_undecided_constraints_take_more_processes_up_to_a_limit() -> None:
    plan = Processes(least=4, most=6, each=0.0, width=0.5, seconds=60.0, longest=60.0)
    counts = [
        len(in_processes(lambda i: 1.0 + i % 2 / 100, plan, estimates, is_clear))
        for is_clear in (lambda found: True, unclear)
    ]
    assert counts == [4, 6]
    slow = replace(plan, longest=0.0)
    assert len(in_processes(lambda i: 1.0 + i, slow, estimates, unclear)) == FEWEST


def estimates(found: Sequence[float], confidence: float) -> dict[str, Estimate]:
    """Return the estimate of what processes gave, by a name."""
    return {"a": across(found, confidence)}


def test_the_interval_of_a_next_process_is_that_of_the_t_distribution() -> None:
    values = [1.0, 1.1, 0.9, 1.05]
    found = across(values)
    logs = np.log(values)
    half = stats.t.ppf(0.975, 3) * logs.std(ddof=1) * (1 + 1 / 4) ** 0.5
    wanted = np.exp([logs.mean(), logs.mean() - half, logs.mean() + half])
    assert [found.value, found.low, found.high] == pytest.approx(list(wanted))
    assert across([2.0]) == Estimate(2.0, 0.0, None)
