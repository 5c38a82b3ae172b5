"""Splits: deterministic, stratified, without duplicates, never overlapping."""

from __future__ import annotations

import random
from collections import Counter

import pandas as pd
import pyarrow as pa
import pytest

from hpo_pipeline.data.cleaning.tally import Tally
from hpo_pipeline.data.row_table import RowTable
from hpo_pipeline.data.splitting import splits
from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.data_fields import Rows

Splits = dict[str, pd.DataFrame]


def stored(tables: Splits) -> dict[str, RowTable]:
    return {
        name: RowTable(pa.Table.from_pandas(frame, preserve_index=False))
        for name, frame in tables.items()
    }


def cut(tables: Splits, rows: Rows, tallies: dict[str, Tally] | None = None) -> splits.Splits:
    return splits.split(stored(tables), rows, tallies)


def frames(found: splits.Splits) -> Splits:
    return {
        name: pd.DataFrame({"input": list(part["input"]), "label": list(part["label"])})
        for name, part in found.tables.items()
    }


def table(count: int, *, start: int = 0, share: float = 0.5) -> pd.DataFrame:
    """Rows `text 0`, `text 1`, … of which this share is labelled `yes`."""
    rows = range(start, start + count)
    named = ["yes" if int(i * share) < int((i + 1) * share) else "no" for i in rows]
    return pd.DataFrame({"input": [f"text {i}" for i in rows], "label": named}, dtype="str")


def split(tables: Splits, rows: Rows) -> Splits:
    return frames(cut(tables, rows))


def inputs(splits: Splits, name: str) -> set[str]:
    return set(splits[name]["input"])


def counts(splits: Splits) -> dict[str, int]:
    return {name: len(found) for name, found in splits.items()}


def test_the_same_rows_give_the_same_splits_in_any_order() -> None:
    rows = table(100)
    one = split({"train": rows}, Rows())
    other = split({"train": rows.sample(frac=1, random_state=3)}, Rows())
    assert all(one[name].equals(other[name]) for name in ("train", "validation", "test"))


def test_no_input_is_in_two_splits_and_none_is_lost() -> None:
    found = split({"train": table(100)}, Rows())
    assert counts(found) == {"train": 70, "validation": 15, "test": 15}
    assert len(inputs(found, "train") | inputs(found, "validation") | inputs(found, "test")) == 100


def test_each_split_has_the_labels_in_proportion() -> None:
    found = split({"train": table(1000, share=0.3)}, Rows(train=200, validation=50, test=100))
    assert {name: Counter(s["label"])["yes"] for name, s in found.items()} == {
        "train": 60,
        "validation": 15,
        "test": 30,
    }


def test_another_seed_gives_another_split() -> None:
    one, other = (split({"train": table(100)}, Rows(seed=seed)) for seed in (0, 1))
    assert inputs(one, "test") != inputs(other, "test")


def test_counts_and_shares_may_be_mixed() -> None:
    found = split({"train": table(200)}, Rows(train=0.5, validation=7, test=0.1))
    assert counts(found) == {"train": 100, "validation": 7, "test": 20}


def test_texts_that_differ_in_case_and_space_only_are_one() -> None:
    rows = pd.concat([table(40), pd.DataFrame({"input": [" TEXT  1"], "label": ["yes"]})])
    found = split({"train": rows}, Rows())
    assert sum(counts(found).values()) == 40


def test_inputs_whose_rows_disagree_on_the_label_are_left_out_and_counted() -> None:
    rows = pd.concat([table(40), table(10).assign(label="yes")])  # half of the ten are "no"
    one = cut({"train": rows}, Rows())
    other = frames(cut({"train": rows[::-1]}, Rows()))
    assert all(frame.equals(other[name]) for name, frame in frames(one).items())
    assert sum(counts(frames(one)).values()) == 35
    assert one.counts["contradicting"] == 10
    assert one.counts["equal"] == 5
    assert one.notes == (
        "train: 50 rows read; left out: 5 equal to another row, 10 with contradicting labels for "
        "the same input.",
    )


def test_the_label_that_most_rows_of_an_input_have_wins_the_vote() -> None:
    said = pd.DataFrame({"input": ["Text  0"] * 5, "label": ["maybe"] * 3 + ["no"] * 2})
    rest = table(40).assign(label=["maybe", "yes"] * 20)
    found = cut({"train": pd.concat([said, rest.tail(39)])}, Rows())
    merged = pd.concat(frames(found).values())
    assert merged[merged["input"] == "Text  0"]["label"].tolist() == ["maybe"]
    assert (found.counts["outvoted"], found.counts["equal"]) == (2, 2)
    assert found.counts["used"] == 40


@pytest.mark.parametrize("count", range(60, 130))
def test_shares_that_add_up_to_one_use_every_row(count: int) -> None:
    found = counts(split({"train": table(count)}, Rows(train=0.7, validation=0.15, test=0.15)))
    assert sum(found.values()) == count
    exact = {"train": 0.7 * count, "validation": 0.15 * count, "test": 0.15 * count}
    assert all(abs(found[name] - exact[name]) < 1 for name in found)


def test_validation_rows_that_are_the_test_rows_are_said_to_be() -> None:
    tables = {"train": table(90), "validation": table(20, start=90), "test": table(20, start=90)}
    with pytest.raises(DataError, match=r"20 also in the test rows.* same rows as the test rows"):
        split(tables, Rows())


def test_an_empty_split_says_what_became_of_its_rows() -> None:
    tally = Tally(read=9, without_input=4, without_label=5)
    with pytest.raises(
        DataError, match=r"test: 9 rows read; left out: 4 without a text .*, 5 without a label"
    ):
        cut({"train": table(50), "test": table(0)}, Rows(), {"train": tally, "test": tally})


def test_rows_that_were_not_asked_for_are_counted() -> None:
    found = cut({"train": table(100)}, Rows(train=20, validation=10, test=10))
    assert found.notes == ("train: 100 rows read; left out: 60 not asked for by task.rows.",)
    assert (found.counts["unused"], found.counts["used"]) == (60, 40)


def test_many_unseen_labels_are_named_in_a_few_words() -> None:
    tests = table(9, start=90).assign(label=[f"class {i}" for i in range(9)])
    with pytest.raises(DataError, match=r"'class 4' and 4 more occur in the test rows"):
        split({"train": table(50), "test": tests}, Rows())


def test_a_row_of_a_given_test_split_is_taken_out_of_training() -> None:
    tables = {"train": table(100), "test": table(30, start=90), "validation": table(20, start=80)}
    found = split(tables, Rows())
    assert counts(found) == {"train": 80, "validation": 10, "test": 30}
    assert inputs(found, "test") == set(tables["test"]["input"])
    assert not inputs(found, "train") & (inputs(found, "test") | inputs(found, "validation"))


def test_given_splits_are_cut_where_the_file_asks_for_fewer_rows() -> None:
    tables = {"train": table(100), "test": table(50, start=200)}
    found = split(tables, Rows(train=20, validation=10, test=10))
    assert counts(found) == {"train": 20, "validation": 10, "test": 10}
    assert inputs(found, "test") <= set(tables["test"]["input"])


def test_rows_read_back_from_json_split_given_data_in_the_same_way() -> None:
    tables = {"train": table(100), "test": table(50, start=200)}
    again = Rows.model_validate_json(Rows().model_dump_json())
    assert counts(split(tables, again)) == counts(split(tables, Rows()))


@pytest.mark.parametrize("seed", range(5))
def test_adding_rows_never_moves_a_training_row_into_the_test_rows(seed: int) -> None:
    rng = random.Random(seed)
    rows = Rows(validation=20, test=20, seed=seed)
    before = split({"train": table(100)}, rows)
    added = table(rng.randrange(10, 300), start=100, share=rng.uniform(0.3, 0.7))
    after = split({"train": pd.concat([added, table(100)])}, rows)
    assert not inputs(before, "train") & inputs(after, "test")


@pytest.mark.parametrize(
    ("tables", "rows", "message"),
    [
        ({"train": table(50, share=0.0)}, Rows(), "two labels or more .* only 'no'"),
        ({"train": table(50)}, Rows(test=60), r"rows\.test: 60 rows asked, and 50 are left of 50"),
        ({"train": table(50)}, Rows(train=45), r"rows\.train: 45 rows asked, and 34 are left"),
        ({"train": table(50)}, Rows(validation=25, test=25), r"rows\.train: the split is empty"),
        ({"train": table(50)}, Rows(test=0.001), r"rows\.test: the split is empty.*less than one"),
        ({"train": table(50)}, Rows(train=0.9, test=0.2), r"add up to more than 1: test 0\.2, tr"),
        ({"train": table(3)}, Rows(), r"rows\.test: the split is empty"),
        ({"train": table(0)}, Rows(), r"rows\.test: the split is empty"),
        ({"train": table(50), "test": table(0)}, Rows(), r"rows\.test: the split is empty"),
        (
            {"train": table(50), "test": table(9, start=90).assign(label="maybe")},
            Rows(),
            "'maybe' occurs in the test rows but in no training row",
        ),
        (
            {"train": pd.concat([table(50), table(1, start=99).assign(label="rare")])},
            Rows(validation=1, test=49, train=1),
            "two labels or more",
        ),
    ],
)
def test_data_that_cannot_be_split_are_refused(tables: Splits, rows: Rows, message: str) -> None:
    with pytest.raises(DataError, match=message):
        split(tables, rows)
