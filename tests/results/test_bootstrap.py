"""Gains on the same rows: their intervals have the coverage that they claim, and right reasons."""

from __future__ import annotations

import numpy as np
import pytest

from hpo_pipeline.experiment.objective import Objective
from hpo_pipeline.results.bootstrap import Gain, Measured, gain_of, gains, share_above
from hpo_pipeline.tasks.classification.one_label import evaluate
from hpo_pipeline.tasks.classification.regression import regression_metrics
from hpo_pipeline.tasks.row_sums import RowSums, read_rows, write_rows

ACCURACY = Objective(metric="accuracy", goal="maximize")


def answers(rows: int, right: float, *, seed: int, labels: int = 3) -> Measured:
    """Return a model that is right in a share of the rows, whose labels are the same for all."""
    label = np.arange(rows) % labels
    is_right = np.random.default_rng(seed).random(rows) < right
    answer = np.where(is_right, label, (label + 1) % labels)
    columns = {"label": label, "answer": answer, "loss": 1.0 - is_right}
    return Measured({"accuracy": float(is_right.mean())}, RowSums("classes", columns, labels))


@pytest.mark.parametrize("labels", [2, 4])
def test_sums_over_all_rows_give_the_metrics_of_the_evaluation(labels: int) -> None:
    rng = np.random.default_rng(labels)
    logits, truth = rng.normal(size=(120, labels)), rng.integers(0, labels, 120)
    names = [str(i) for i in range(labels)]
    known = [*names[:-1], "only the model knows"]
    found = evaluate(logits, truth, known=known, names=names, own={})
    assert found.rows is not None
    sums = found.rows.metrics(np.ones((1, 120)))
    assert {n: float(v[0]) for n, v in sums.items()} == pytest.approx(found.metrics)


def test_a_sample_has_the_metrics_of_its_rows() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=80)
    x = y + rng.normal(size=80)
    drawn = rng.integers(0, 80, 80)
    counts = np.bincount(drawn, minlength=80)[np.newaxis]
    sums = RowSums("numbers", {"label": y, "answer": x}).metrics(counts)
    wanted = regression_metrics(x[drawn], y[drawn], {})
    assert {n: float(sums[n][0]) for n in wanted} == pytest.approx(wanted)


def test_nineteen_of_twenty_intervals_hold_the_true_gain() -> None:
    found = [
        gain_of(ACCURACY, answers(400, 0.8, seed=i), answers(400, 0.7, seed=1000 + i))
        for i in range(100)
    ]
    held = sum(g.low <= 0.1 <= g.high for g in found if g.low is not None and g.high is not None)
    assert 89 <= held <= 100


def test_the_gain_of_a_loss_is_what_it_falls_by() -> None:
    loss = Objective(metric="loss", goal="minimize")
    good, bad = answers(300, 0.9, seed=0), answers(300, 0.5, seed=1)
    ours = Measured({"loss": 0.1}, good.rows)
    found = gain_of(loss, ours, Measured({"loss": 0.5}, bad.rows))
    assert found.gain == pytest.approx(0.4)
    assert found.low is not None
    assert found.low > 0.2
    assert found.is_within_noise is False


def test_a_formula_counts_what_is_not_of_the_rows_at_its_value() -> None:
    score = Objective(score="accuracy - 0.01 * latency_p95_ms", goal="maximize")
    one, other = answers(200, 0.8, seed=0), answers(200, 0.8, seed=1)
    fast = Measured({**one.metrics, "latency_p95_ms": 10.0}, one.rows)
    slow = Measured({**other.metrics, "latency_p95_ms": 30.0}, other.rows)
    found, plain = gain_of(score, fast, slow), gain_of(ACCURACY, one, other)
    assert None not in (found.low, plain.low)
    shifted = [end + 0.2 for end in (plain.gain, plain.low, plain.high)]
    assert [found.gain, found.low, found.high] == pytest.approx(shifted)


def test_rows_that_tell_nothing_apart_give_a_formula_no_false_certainty() -> None:
    score = Objective(score="accuracy - 0.01 * latency_p95_ms", goal="maximize")
    one = answers(200, 0.8, seed=0)
    models = [Measured({**one.metrics, "latency_p95_ms": ms}, one.rows) for ms in (10.0, 10.1)]
    found = gain_of(score, *models)
    assert found.gain == pytest.approx(0.001)
    assert (found.low, found.reason.partition(",")[0]) == (None, "no row tells the two apart")


def test_the_share_of_samples_is_the_confidence() -> None:
    better = gains(ACCURACY, answers(500, 0.85, seed=1), answers(500, 0.7, seed=2))
    assert not isinstance(better, str)
    assert share_above(better, 0.0) > 0.99
    assert share_above(better, 0.3) < 0.01
    same = gains(ACCURACY, answers(500, 0.8, seed=1), answers(500, 0.8, seed=1))
    assert not isinstance(same, str)
    assert share_above(same, 0.0) == 0.0


@pytest.mark.parametrize(
    ("metric", "ours", "theirs", "why"),
    [
        ("roc_auc", answers(60, 0.8, seed=0), answers(60, 0.8, seed=1), "roc_auc cannot be"),
        ("accuracy", answers(40, 0.8, seed=0), answers(40, 0.8, seed=1), "needs 50 test rows, and"),
        ("accuracy", answers(60, 0.8, seed=0), answers(61, 0.8, seed=1), "not measured on the sa"),
        ("accuracy", answers(60, 0.8, seed=0), Measured({"accuracy": 0.5}), "from single rows"),
        ("latency_p95_ms", answers(60, 0.8, seed=0), answers(60, 0.8, seed=1), "is not of the row"),
    ],
)
def test_where_there_is_no_interval_the_reason_is_given(
    metric: str, ours: Measured, theirs: Measured, why: str
) -> None:
    goal = "minimize" if metric.startswith("latency") else "maximize"
    found = gain_of(Objective(metric=metric, goal=goal), ours, theirs)  # type: ignore[arg-type]
    assert found.low is None
    assert why in found.reason


def test_rows_come_back_from_their_file_and_a_damaged_one_is_none(tmp_path) -> None:
    rows = answers(60, 0.8, seed=0).rows
    assert rows is not None
    shuffled = np.random.default_rng(0).permutation(60)
    moved = RowSums("classes", {n: c[shuffled] for n, c in rows.columns.items()}, 3)
    write_rows(tmp_path / "rows.npz", moved.in_order(shuffled))
    found = read_rows(tmp_path / "rows.npz")
    assert found is not None
    assert (found.form, found.labels) == ("classes", 3)
    assert all((found.columns[name] == rows.columns[name]).all() for name in rows.columns)
    (tmp_path / "rows.npz").write_bytes(b"no archive")
    assert read_rows(tmp_path / "rows.npz") is None
    assert read_rows(tmp_path / "none.npz") is None


def test_an_interval_over_zero_is_noise() -> None:
    assert Gain(0.5, 0.4, 0.1, -0.1, 0.3, 60).is_within_noise
    assert Gain(0.5, 0.4, 0.1).is_within_noise is None
