"""Labels of a classification: their order, and a model that was trained on other labels."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hpo_pipeline.tasks.classification.one_label import evaluate, label_names
from hpo_pipeline.tasks.kind import Evaluated


@pytest.mark.parametrize(
    ("names", "ordered"),
    [
        (["10", "9", "-1", "9"], ["-1", "9", "10"]),
        (["b", "a", "10"], ["10", "a", "b"]),
        (["01", "1", "0"], ["0", "01", "1"]),
        (["²", "1"], ["1", "²"]),
        (["--1", "1"], ["--1", "1"]),
    ],
)
def test_labels_are_in_one_order(names: list[str], ordered: list[str]) -> None:
    assert label_names(names) == ordered


def answers(known: list[str], given: str, labels: str, names: str = "abc", **own: str) -> Evaluated:
    """Return how a model that knows these labels does when it gives these answers."""
    logits = np.eye(len(known))[[known.index(name) for name in given]] * 8
    numbers = np.array([names.index(label) for label in labels])
    return evaluate(logits, numbers, known=known, names=list(names), own=own)


def test_the_order_of_the_models_labels_does_not_matter() -> None:
    straight = answers(["a", "b", "c"], "abcab", "abccb")
    assert answers(["c", "a", "b"], "abcab", "abccb") == straight
    assert straight.metrics["accuracy"] == pytest.approx(4 / 5)
    assert straight.confusion == ((1, 0, 0), (0, 2, 0), (1, 0, 1))


def test_rows_with_a_label_that_the_model_does_not_know_are_wrong() -> None:
    found = answers(["a", "b"], "abab", "abcc").metrics
    assert found["accuracy"] == pytest.approx(2 / 4)
    assert found["recall"] == pytest.approx((1 + 1 + 0) / 3)
    assert found["precision"] == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)
    # Two rows are right with e^8 against one, two have the least probability.
    right, wrong = math.log(1 + math.exp(-8)), -math.log(1e-7)
    assert found["loss"] == pytest.approx((2 * right + 2 * wrong) / 4)


def test_an_answer_that_the_data_do_not_know_is_wrong() -> None:
    found = answers(["a", "b", "x"], "abxx", "abab", names="ab")
    assert found.metrics["accuracy"] == pytest.approx(2 / 4)
    # Of the rows of b, one of two is found; what is called b is b.
    assert (found.metrics["recall"], found.metrics["precision"]) == pytest.approx((1 / 2, 1.0))
    assert found.labels == ("a", "b", "x")
    assert found.confusion == ((1, 0, 1), (0, 1, 1), (0, 0, 0))


def share_right(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """A user's metric, which expects one column a label of the data."""
    assert probabilities.shape == (len(labels), 2)
    assert probabilities.sum(axis=-1) == pytest.approx(1.0)
    return float((probabilities.argmax(axis=-1) == labels).mean())


def test_a_users_metric_sees_the_datas_labels_only() -> None:
    target = "tests.tasks.test_labels:share_right"
    found = answers(["a", "b", "x"], "abxx", "abab", names="ab", right=target)
    assert found.metrics["right"] == pytest.approx(2 / 4)


def test_a_model_that_knows_none_of_the_labels_is_measured_all_the_same() -> None:
    found = answers(["x", "y"], "xyx", "aba", names="ab").metrics
    assert (found["accuracy"], found["f1"]) == (0.0, 0.0)
    assert math.isfinite(found["loss"])
