"""Quality metrics against values computed by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from hpo_pipeline.errors import TrialError
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.tasks.classification.one_label import classification_metrics
from tests.toys import toy_experiment


def logits(*classes: int, count: int = 2) -> np.ndarray:
    return np.eye(count)[list(classes)] * 4 - 1


def test_two_classes_by_hand() -> None:
    # Predicted 1 three times, rightly twice; of four ones, two are found.
    predicted, labels = logits(1, 1, 1, 0, 0, 0), np.array([1, 1, 0, 1, 1, 0])
    found = classification_metrics(predicted, labels, {})
    assert found["accuracy"] == pytest.approx(3 / 6)
    assert found["precision"] == pytest.approx(2 / 3)
    assert found["recall"] == pytest.approx(2 / 4)
    assert found["f1"] == pytest.approx(4 / 7)
    assert found["precision_macro"] == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert found["recall_macro"] == pytest.approx((2 / 4 + 1 / 2) / 2)
    assert found["f1_weighted"] == pytest.approx((4 * 4 / 7 + 2 * 2 / 5) / 6)


def test_three_classes_by_hand() -> None:
    predicted, labels = logits(0, 0, 1, 1, 2, 0, count=3), np.array([0, 0, 0, 1, 1, 2])
    found = classification_metrics(predicted, labels, {})
    f1 = [2 * 2 / (3 + 3), 2 * 1 / (2 + 2), 0.0]
    assert found["accuracy"] == pytest.approx(3 / 6)
    assert found["precision"] == found["precision_macro"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert found["recall"] == found["recall_macro"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert found["f1"] == pytest.approx(sum(f1) / 3)
    assert found["f1_weighted"] == pytest.approx((3 * f1[0] + 2 * f1[1] + 1 * f1[2]) / 6)


def test_the_metrics_are_those_that_the_schema_lists() -> None:
    found = classification_metrics(logits(0, 1), np.array([0, 1]), {})
    task = toy_experiment().task
    assert {"loss", *found} == set(TASKS["text-classification"].metrics(task))
    assert set(found.values()) == {1.0}
    assert {type(value) for value in found.values()} == {float}


def test_a_class_that_is_never_predicted_counts_as_zero_without_a_warning() -> None:
    found = classification_metrics(logits(0, 0), np.array([0, 1]), {})
    assert (found["precision"], found["recall"], found["f1"]) == (0.0, 0.0, 0.0)
    assert found["recall_macro"] == 0.5


def test_a_class_that_no_row_has_counts_all_the_same() -> None:
    found = classification_metrics(logits(0, 1, count=3), np.array([0, 1]), {})
    assert found["recall_macro"] == pytest.approx(2 / 3)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that computes a user's metric from the body of its function."""

    def own(body: str) -> float:
        name = f"own_{abs(hash(body))}"
        (tmp_path / f"{name}.py").write_text(f"def f(probabilities, labels):\n    {body}\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        return classification_metrics(logits(1, 0), np.array([1, 1]), {"mine": f"{name}:f"})["mine"]

    return own


def test_a_users_metric_gets_probabilities_and_labels(own) -> None:
    right = math.exp(4) / (math.exp(4) + 1)
    assert own("return probabilities[labels == 1, 1].max()") == pytest.approx(right)
    assert own("return probabilities.sum()") == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise KeyError('x')", r"the metric mine \(own_\d+:f\) raised KeyError: 'x'"),
        ("return 1 / 0", "raised ZeroDivisionError: division by zero"),
        ("return None", "raised TypeError"),
        ("return 'good'", "raised ValueError"),
        ("return probabilities", "raised TypeError"),
    ],
)
def test_a_users_metric_that_gives_no_number_fails_the_trial(own, body: str, reason: str) -> None:
    with pytest.raises(TrialError, match=reason):
        own(body)


def test_large_logits_have_probabilities() -> None:
    huge = np.array([[1000.0, -1000.0]])
    found = classification_metrics(huge, np.array([0]), {"brier": "tests.tasks.test_metrics:brier"})
    assert found["brier"] == 0.0


def brier(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """A user's metric: the mean squared distance to certainty."""
    return float(((1 - probabilities[np.arange(len(labels)), labels]) ** 2).mean())
