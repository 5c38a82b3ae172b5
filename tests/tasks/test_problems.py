"""Several labels and numbers: metrics against calculations of another kind."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from hpo_pipeline.tasks.classification import regression, several_labels
from hpo_pipeline.tasks.classification.one_label import (
    classification_metrics,
)
from hpo_pipeline.tasks.classification.regression import regression_metrics
from hpo_pipeline.tasks.classification.several_labels import several_label_metrics

RNG = np.random.default_rng(5)


def share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def scores(pairs: list[tuple[int, int]]) -> tuple[float, float, float]:
    """Return precision, recall and F1 of pairs of answer and truth."""
    both = sum(a and t for a, t in pairs)
    answered, wanted = sum(a for a, _ in pairs), sum(t for _, t in pairs)
    precision, recall = share(both, answered), share(both, wanted)
    return precision, recall, share(2 * precision * recall, precision + recall)


def area(scores: list[float], truth: list[int]) -> float:
    """Return the share of pairs of a true and a false row whose scores are in order."""
    true = [s for s, t in zip(scores, truth, strict=True) if t]
    false = [s for s, t in zip(scores, truth, strict=True) if not t]
    won = sum((a > b) + (a == b) / 2 for a in true for b in false)
    return won / (len(true) * len(false))


def pearson(a: list[float], b: list[float]) -> float:
    x, y = statistics.mean(a), statistics.mean(b)
    covered = math.fsum((i - x) * (j - y) for i, j in zip(a, b, strict=True))
    return covered / math.sqrt(
        math.fsum((i - x) ** 2 for i in a) * math.fsum((j - y) ** 2 for j in b)
    )


def ranks(values: list[float]) -> list[float]:
    return [sum(o < v for o in values) + (sum(o == v for o in values) + 1) / 2 for v in values]


@pytest.mark.parametrize("threshold", [0.5, 0.2])
def test_several_labels_by_counting(threshold: float) -> None:
    logits = RNG.normal(size=(40, 4))
    truth = (RNG.random((40, 4)) < [0.5, 0.3, 0.1, 0.0]).astype(int)
    found = several_label_metrics(logits, truth, threshold=threshold, own={})
    answer = [[int(1 / (1 + math.exp(-x)) >= threshold) for x in row] for row in logits]
    pairs = [list(zip(a, map(int, t), strict=True)) for a, t in zip(answer, truth, strict=True)]
    by_label = [[row[i] for row in pairs] for i in range(4)]
    weights = [sum(t for _, t in label) for label in by_label]
    for i, name in enumerate(("precision", "recall", "f1")):
        of_labels = [scores(label)[i] for label in by_label]
        weighted = sum(w * v for w, v in zip(weights, of_labels, strict=True)) / sum(weights)
        expected = {
            "micro": scores([pair for row in pairs for pair in row])[i],
            "macro": statistics.mean(of_labels),
            "weighted": weighted,
            "samples": statistics.mean(scores(row)[i] for row in pairs),
        }
        for mean, value in expected.items():
            assert found[f"{name}_{mean}"] == pytest.approx(value, abs=1e-9)
    assert found["exact_match"] == sum(all(a == t for a, t in row) for row in pairs) / 40
    wrong = sum(a != t for row in pairs for a, t in row)
    assert found["hamming_loss"] == pytest.approx(wrong / 160, abs=1e-9)
    areas = [area(list(logits[:, i]), list(truth[:, i])) for i in range(3)]
    assert found["roc_auc"] == pytest.approx(statistics.mean(areas), abs=1e-9)
    assert {"loss", *found} == set(several_labels.METRICS)


def test_no_label_with_two_sides_has_no_area() -> None:
    found = several_label_metrics(np.zeros((3, 2)), np.ones((3, 2)), threshold=0.5, own={})
    assert "roc_auc" not in found
    assert found["exact_match"] == 1.0  # a probability of 0.5 reaches the threshold


def test_numbers_by_hand() -> None:
    answers, targets = list(RNG.normal(size=30)), list(RNG.normal(size=30).round(1))
    found = regression_metrics(np.array(answers, dtype=np.float64), np.array(targets), {})
    errors = [a - t for a, t in zip(answers, targets, strict=True)]
    squares = math.fsum(e * e for e in errors)
    middle = statistics.mean(targets)
    expected = {
        "mse": squares / 30,
        "rmse": math.sqrt(squares / 30),
        "mae": statistics.mean(map(abs, errors)),
        "r2": 1 - squares / math.fsum((t - middle) ** 2 for t in targets),
        "pearson": pearson(answers, targets),
        "spearman": pearson(ranks(answers), ranks(targets)),
    }
    assert found == pytest.approx(expected, abs=1e-9)
    assert {"loss", *found} == set(regression.METRICS)


def test_what_is_undefined_is_left_out() -> None:
    assert set(regression_metrics(np.array([1.0, 2.0]), np.array([3.0, 3.0]), {})) == {
        *("mse", "rmse", "mae")
    }
    collapsed = regression_metrics(np.array([1.0, 1.0]), np.array([0.0, 3.0]), {})
    assert (collapsed["pearson"], collapsed["spearman"]) == (0.0, 0.0)
    diverged = regression_metrics(np.array([np.nan, 1.0]), np.array([0.0, 3.0]), {})
    assert math.isnan(diverged["mse"])
    assert "roc_auc" not in classification_metrics(np.eye(2), np.array([1, 1]), {})


def test_one_label_by_other_formulas() -> None:
    logits = RNG.normal(size=(50, 3)) * 3
    labels = RNG.integers(0, 3, 50)
    found = classification_metrics(logits, labels, {})
    answers = logits.argmax(axis=1)
    counts = np.array(
        [[np.sum((labels == t) & (answers == a)) for a in range(3)] for t in range(3)]
    )
    recalls = counts.diagonal() / counts.sum(axis=1)
    assert found["balanced_accuracy"] == pytest.approx(recalls.mean(), abs=1e-9)
    # Gorodkin's correlation of the indicators of answers and labels.
    x, y = np.eye(3)[answers] - np.eye(3)[answers].mean(0), np.eye(3)[labels]
    y = y - y.mean(0)
    expected = (x * y).sum() / math.sqrt((x * x).sum() * (y * y).sum())
    assert found["matthews_corrcoef"] == pytest.approx(expected, abs=1e-9)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    areas = [area(list(shares[:, i]), list(labels == i)) for i in range(3)]
    assert found["roc_auc"] == pytest.approx(statistics.mean(areas), abs=1e-9)
    two = classification_metrics(logits[:, :2], labels == 1, {})
    margins = list(logits[:, 1] - logits[:, 0])
    assert two["roc_auc"] == pytest.approx(area(margins, list(labels == 1)), abs=1e-9)
