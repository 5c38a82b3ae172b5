"""Metrics of samples of the rows equal those of the evaluation on the rows that were drawn."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from hpo_pipeline.tasks.classification import one_label, several_labels
from hpo_pipeline.tasks.classification.regression import regression_metrics
from hpo_pipeline.tasks.generation.generation_metrics import generation_metrics, row_scores
from hpo_pipeline.tasks.inputs.token_cutting import IGNORED
from hpo_pipeline.tasks.kind import Evaluated, Loaded
from hpo_pipeline.tasks.row_metrics.texts import text_counts
from hpo_pipeline.tasks.row_sums import RowSums, read_rows, write_rows
from hpo_pipeline.tasks.tagging.word_tags import WordMetrics, _row_counts
from hpo_pipeline.tasks.token_metrics import TokenSums, bits_per_byte

ROWS = 60
Case = tuple[RowSums, Callable[[Any], dict[str, float]]]


def of_one_label(labels: int) -> Case:
    """Return rows with one label, whose scores have ties, and their metrics."""
    rng = np.random.default_rng(labels)
    logits = rng.integers(-3, 4, (ROWS, labels)).astype(float)
    truth = rng.integers(0, labels, ROWS)
    names = [str(i) for i in range(labels)]

    def whole(drawn: Any) -> Evaluated:
        return one_label.evaluate(logits[drawn], truth[drawn], known=names, names=names, own={})

    return _rows(whole(np.arange(ROWS))), lambda drawn: whole(drawn).metrics


def of_several_labels() -> Case:
    """Return rows with several labels, of which the model knows one more than the data."""
    rng = np.random.default_rng(0)
    logits = np.round(rng.normal(size=(ROWS, 4)), 1)
    truth = (rng.random((ROWS, 3)) < 0.4).astype(int)
    config = SimpleNamespace(
        id2label=dict(enumerate("abcz")), num_labels=4, problem_type="multi_label_classification"
    )

    def model(logits: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=logits)

    model.config, model.device = config, torch.device("cpu")  # type: ignore[attr-defined]

    def whole(drawn: Any) -> Evaluated:
        rows = [{"logits": logits[i], "label": truth[i]} for i in drawn]
        loaded = Loaded(
            model,
            None,
            rows,
            lambda rows: {"logits": torch.tensor(np.stack([row["logits"] for row in rows]))},
            list("abc"),
        )
        return several_labels.evaluate(loaded, threshold=0.5, own={})

    return _rows(whole(np.arange(ROWS))), lambda drawn: whole(drawn).metrics


def of_numbers() -> Case:
    """Return rows with numbers, some of them equal."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 9, ROWS).astype(float)
    x = np.round(y + rng.normal(size=ROWS) * 3)
    rows = RowSums("numbers", {"label": y, "answer": x})
    return rows, lambda drawn: regression_metrics(x[drawn], y[drawn], {})


def of_words(scheme: Any) -> Case:
    """Return rows of tagged words; one word has no token, and so no answer."""
    rng = np.random.default_rng(0)
    names = ["O", "B-A", "I-A", "B-B", "I-B"] if scheme == "IOB2" else ["x", "y", "z"]
    truth = [[names[i] for i in rng.integers(0, len(names), 1 + n % 7)] for n in range(ROWS)]
    answers = [
        [t if rng.random() < 0.6 else names[rng.integers(len(names))] for t in row] for row in truth
    ]
    metrics = WordMetrics(names, scheme, 16, {})
    answers[0][0] = metrics.missing
    losses = [-rng.random(len(row)) for row in truth]

    def whole(drawn: Any) -> dict[str, float]:
        loss = float(-np.concatenate([losses[i] for i in drawn]).mean())
        found = metrics.of_words([answers[i] for i in drawn], [truth[i] for i in drawn])
        return {"loss": loss, **found}

    return RowSums("words", _row_counts(answers, truth, losses, metrics)), whole


def of_tokens() -> Case:
    """Return rows of predicted tokens, one of them without any."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(ROWS, 5, 7, generator=generator)
    labels = torch.randint(0, 7, (ROWS, 5), generator=generator)
    labels[0], labels[:, 3] = IGNORED, IGNORED
    size, unknown = np.arange(1, ROWS + 1), np.arange(ROWS) % 3

    def sums(drawn: Any) -> TokenSums:
        found = TokenSums()
        for part in np.array_split(drawn, 3):
            found.add(logits[part], labels[part])
        return found

    def whole(drawn: Any) -> dict[str, float]:
        found = sums(drawn)
        bits = bits_per_byte(found.nats, int(size[drawn].sum()), int(unknown[drawn].sum()))
        return {**found.metrics, "bits_per_byte": bits}

    columns = dict(
        zip(("nats", "tokens", "right"), np.asarray(sums(np.arange(ROWS)).of_rows).T, strict=True)
    )
    return RowSums("tokens", {**columns, "bytes": size, "unknown": unknown}), whole


def of_texts() -> Case:
    """Return rows of written texts: right ones, wrong ones, short and empty ones."""
    rng = np.random.default_rng(0)
    words = ["the", "cat", "sat", "on", "a", "mat", "with", "its", "old", "hat"]
    right = [" ".join(rng.choice(words, 2 + n % 8)) for n in range(ROWS)]
    texts = [
        text if n % 3 == 0 else " ".join(w for w in text.split() if rng.random() < 0.7)
        for n, text in enumerate(right)
    ]
    columns = {name: np.asarray(values) for name, values in row_scores(texts, right).items()}
    rest = {"nats": np.ones(ROWS), "tokens": np.ones(ROWS)}
    rows = RowSums("texts", {**columns, **text_counts(texts, right), **rest})
    return rows, lambda drawn: generation_metrics(
        [texts[i] for i in drawn], [right[i] for i in drawn]
    )


def _rows(found: Evaluated) -> RowSums:
    assert found.rows is not None
    return found.rows


CASES = {
    "two labels": lambda: of_one_label(2),
    "four labels": lambda: of_one_label(4),
    "several labels": of_several_labels,
    "numbers": of_numbers,
    "entities": lambda: of_words("IOB2"),
    "tags": lambda: of_words("none"),
    "tokens": of_tokens,
    "texts": of_texts,
}


@pytest.mark.parametrize("name", CASES)
def test_samples_have_the_metrics_of_the_rows_that_were_drawn(name: str, tmp_path: Any) -> None:
    rows, whole = CASES[name]()
    write_rows(tmp_path / "rows.npz", rows)
    kept = read_rows(tmp_path / "rows.npz")
    assert kept is not None
    rng = np.random.default_rng(1)
    drawn = [np.arange(ROWS), *(rng.integers(0, ROWS, ROWS) for _ in range(5))]
    counts = np.stack([np.bincount(each, minlength=ROWS) for each in drawn])
    found = kept.metrics(counts)
    for i, each in enumerate(drawn):
        wanted = whole(each)
        assert {n: float(found[n][i]) for n in wanted} == pytest.approx(wanted)


def test_a_sample_of_one_class_has_no_area_and_of_equal_ranks_no_correlation() -> None:
    rows, _ = of_one_label(2)
    of_one = (rows.columns["label"] == 1).astype(int)
    assert np.isnan(rows.metrics(of_one[np.newaxis])["roc_auc"]).all()
    numbers, _ = of_numbers()
    one = np.eye(1, ROWS, dtype=int) * 9
    assert numbers.metrics(one)["spearman"].tolist() == [0.0]
