"""Entities by hand, and their scores against seqeval's on many random rows."""

from __future__ import annotations

import random
import warnings

import pytest

from hpo_pipeline.tasks.tagging.entities import entity_scores, row_fault, spans, tag_names


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("O B-PER I-PER O B-LOC", [("PER", 1, 2), ("LOC", 4, 4)]),
        ("B-PER B-PER I-PER", [("PER", 0, 0), ("PER", 1, 2)]),
        ("I-PER I-PER I-LOC", [("PER", 0, 1), ("LOC", 2, 2)]),  # IO
        ("I-PER B-PER O", [("PER", 0, 0), ("PER", 1, 1)]),  # IOB1
        ("B-PER I-LOC I-LOC", [("PER", 0, 0), ("LOC", 1, 2)]),
        ("S-PER S-PER B-LOC I-LOC E-LOC", [("PER", 0, 0), ("PER", 1, 1), ("LOC", 2, 4)]),
        ("B-PER E-PER E-PER", [("PER", 0, 1), ("PER", 2, 2)]),
        ("U-PER U-PER B-LOC L-LOC", [("PER", 0, 0), ("PER", 1, 1), ("LOC", 2, 3)]),
        ("B-geo-loc I-geo-loc", [("geo-loc", 0, 1)]),
        ("O O", []),
    ],
)
def test_spans(tags: str, found: list[tuple[str, int, int]]) -> None:
    assert spans(tags.split()) == found


def test_scores_by_hand() -> None:
    true = [["B-PER", "I-PER", "O", "B-LOC"], ["B-LOC", "O"]]
    predicted = [["B-PER", "I-PER", "O", "B-PER"], ["B-LOC", "I-LOC"]]
    found = entity_scores(predicted, true)  # of three answers one is right, and of three entities
    assert found["precision"] == found["recall"] == found["f1"] == pytest.approx(1 / 3)
    # PER: 1 of 2 answered, 1 of 1 wanted; LOC: nothing right.
    assert found["f1_macro"] == pytest.approx((2 / 3 + 0) / 2)
    assert set(entity_scores([["O"]], [["O"]]).values()) == {0.0}


@pytest.mark.parametrize("letters", ["I", "BI", "BIES"])
def test_scores_are_those_of_seqeval(letters: str) -> None:
    from seqeval import metrics as seqeval

    rng = random.Random(3)
    tags = ["O", *(f"{letter}-{kind}" for letter in letters for kind in ("PER", "LOC", "a-b"))]
    for _ in range(150):
        sizes = [rng.randint(1, 9) for _ in range(rng.randint(1, 5))]
        true = [[rng.choice(tags) for _ in range(size)] for size in sizes]
        share = rng.random()
        predicted = [[t if rng.random() < share else rng.choice(tags) for t in r] for r in true]
        found = entity_scores(predicted, true)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            other = {
                "precision": seqeval.precision_score(true, predicted, zero_division=0),
                "recall": seqeval.recall_score(true, predicted, zero_division=0),
                "f1": seqeval.f1_score(true, predicted, zero_division=0),
                "f1_macro": seqeval.f1_score(true, predicted, average="macro", zero_division=0)
                if any(spans(row) for row in (*true, *predicted))
                else 0.0,
            }
        assert found == pytest.approx(other, abs=1e-9)


def test_tags_of_a_scheme_are_completed() -> None:
    assert tag_names(["I-PER", "B-LOC", "O"], "auto") == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    assert tag_names(["I-PER"], "auto") == ["O", "I-PER"]
    assert tag_names(["S-PER"], "BIOES") == ["O", "B-PER", "I-PER", "E-PER", "S-PER"]


@pytest.mark.parametrize(
    ("tags", "scheme", "reason"),
    [
        ("NN VB", "auto", "'NN' marks no entity: .* set scheme: none"),
        ("B_PER", "auto", "'B_PER' marks no entity"),
        ("B-PER E-PER L-PER", "auto", "mix the schemes BIOES and BILOU"),
        ("E-PER", "IOB2", "'E-PER' is no tag of IOB2: its tags are O, and B-TYPE, I-TYPE"),
    ],
)
def test_tags_outside_the_scheme(tags: str, scheme: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        tag_names(tags.split(), scheme)


@pytest.mark.parametrize(
    ("tags", "scheme", "fault"),
    [
        ("O B-PER I-PER", "IOB2", None),
        ("O I-PER", "IOB2", "'I-PER' after 'O'"),
        ("B-LOC I-PER", "IOB2", "'I-PER' after 'B-LOC'"),
        ("O I-PER", "auto", None),
        ("O I-PER B-PER", "IOB1", None),
        ("O B-PER", "IOB1", "'B-PER' after 'O'"),
        ("B-PER I-PER E-PER S-LOC", "BIOES", None),
        ("B-PER O", "BIOES", "'O' after 'B-PER'"),
        ("B-PER", "BIOES", "'O' after 'B-PER'"),
        ("O E-PER", "BIOES", "'E-PER' after 'O'"),
        ("S-PER I-PER", "BIOES", "'I-PER' after 'S-PER'"),
        ("B-PER L-PER U-PER", "BILOU", None),
        ("I-PER B-PER", "IO", "'B-PER' is no tag of IO"),
        ("x y", "none", None),
    ],
)
def test_rows_outside_the_scheme(tags: str, scheme: str, fault: str | None) -> None:
    found = row_fault(tags.split(), scheme)
    assert found is None if fault is None else str(found).startswith(fault)
