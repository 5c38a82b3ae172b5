"""The order of training rows: like lengths in a batch, mixed otherwise, the same when resumed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from accelerate import skip_first_batches
from datasets import Dataset
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

from hpo_pipeline.data.prepare import prepare
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.trial.training.building import build
from hpo_pipeline.trial.training.length_order import LengthOrdered, length_order, order_by_length

LENGTHS = np.random.default_rng(0).gamma(4.0, 6.0, 1000).astype(int) + 2


def order(lengths: Any, batch: int = 8, seed: int = 0) -> np.ndarray:
    return length_order(np.asarray(lengths), batch, np.random.default_rng(seed))


def padded(lengths: Any, found: np.ndarray, batch: int) -> int:
    """Return the tokens of all batches, padding included."""
    batches = [lengths[found[i : i + batch]] for i in range(0, len(found), batch)]
    return sum(int(b.max()) * len(b) for b in batches)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 33, 64, 1000])
@pytest.mark.parametrize("batch", [1, 8, 32])
def test_each_row_comes_exactly_once(count, batch):
    assert sorted(order(LENGTHS[:count], batch)) == list(range(count))


@pytest.mark.parametrize(("batch", "most"), [(8, 1.06), (16, 1.09), (32, 1.2)])
def test_next_to_no_padding_is_left(batch, most):
    assert padded(LENGTHS, order(LENGTHS, batch), batch) < most * LENGTHS.sum()
    plain = np.random.default_rng(0).permutation(len(LENGTHS))
    assert padded(LENGTHS, plain, batch) > 1.5 * LENGTHS.sum()


@pytest.mark.parametrize("count", [20, 40, 80, 1000])
def test_no_batch_of_an_epoch_has_longer_rows_than_another(count):
    lengths = LENGTHS[:count]
    found = np.array([lengths[order(lengths, seed=seed)] for seed in range(400)]).mean(axis=0)
    batches = [found[i : i + 8].mean() for i in range(0, count, 8)]
    assert max(batches) < 1.1 * lengths.mean()
    assert min(batches) > 0.9 * lengths.mean()


@pytest.mark.parametrize(("count", "least", "most"), [(16, 0.14, 0.26), (20, 0.05, 0.28)])
def test_rows_of_few_batches_meet_all_others(count, least, most):
    """Of four batches any two rows share one as often as any others, of five nearly so."""
    lengths, together = np.arange(count), np.zeros((count, count))
    for seed in range(1000):
        found = order(lengths, 4, seed)
        for start in range(0, count, 4):
            together[np.ix_(found[start : start + 4], found[start : start + 4])] += 1
    pairs = together[~np.eye(count, dtype=bool)] / 1000
    assert least < pairs.min() < pairs.max() < most


def test_batches_differ_from_epoch_to_epoch():
    rows = LengthOrdered(LENGTHS, LENGTHS, batch=8, seed=3)
    epochs = []
    for epoch in range(2):
        rows.set_epoch(epoch)
        epochs.append({frozenset(rows.order()[i : i + 8]) for i in range(0, 1000, 8)})
    assert not epochs[0] & epochs[1]


def trainer_of(tiny_bert, rows, tmp_path, **arguments) -> Trainer:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(tiny_bert))
    return Trainer(
        AutoModelForSequenceClassification.from_pretrained(str(tiny_bert)),
        TrainingArguments(
            str(tmp_path), report_to="none", dataloader_pin_memory=False,
            per_device_train_batch_size=4, remove_unused_columns=False, **arguments,
        ),
        data_collator=DataCollatorWithPadding(tokenizer),
        train_dataset=rows,
    )  # fmt: skip


ROWS = [{"input_ids": [4 + i % 20] * int(LENGTHS[i] % 9 + 2), "label": i % 2} for i in range(50)]
ROW_LENGTHS = [len(row["input_ids"]) for row in ROWS]


def read(loader: Any, epoch: int) -> list[Any]:
    loader.set_epoch(epoch)
    return [batch["input_ids"].tolist() for batch in loader]


@pytest.mark.parametrize("rows", [ROWS, Dataset.from_list(ROWS)], ids=["list", "table"])
def test_the_trainer_resumes_within_an_epoch_at_its_place(tiny_bert, tmp_path, rows):
    trainers = [trainer_of(tiny_bert, rows, tmp_path, seed=5) for _ in range(2)]
    for trainer in trainers:
        order_by_length(trainer, ROW_LENGTHS)
    whole = [read(trainers[0].get_train_dataloader(), epoch) for epoch in (0, 1)]
    resumed = read(skip_first_batches(trainers[1].get_train_dataloader(), 5), 1)
    assert resumed == whole[1][5:]
    assert whole[0] != whole[1]
    assert sum(len(ids) for batch in whole[0] for ids in batch) < 1.25 * sum(ROW_LENGTHS)


def test_processes_that_load_rows_learn_of_the_epoch(tiny_bert, tmp_path):
    own = {"dataloader_num_workers": 1, "dataloader_persistent_workers": True}
    alone, beside = (trainer_of(tiny_bert, ROWS, tmp_path, **given) for given in ({}, own))
    for trainer in (alone, beside):
        order_by_length(trainer, ROW_LENGTHS)
    loaders = alone.get_train_dataloader(), beside.get_train_dataloader()
    for epoch in (0, 1):
        assert read(loaders[0], epoch) == read(loaders[1], epoch)


def test_the_seed_of_the_data_decides_where_it_is_given(tiny_bert, tmp_path):
    seeds = ({"seed": 1}, {"seed": 2, "data_seed": 1}, {"seed": 2})
    found = []
    for given in seeds:
        trainer = trainer_of(tiny_bert, ROWS, tmp_path, **given)
        order_by_length(trainer, ROW_LENGTHS)
        found.append(read(trainer.get_train_dataloader(), 0))
    assert found[0] == found[1] != found[2]


def test_a_choice_of_the_user_holds(write_experiment, tmp_path):
    file = write_experiment()
    task, dataset = load(file).task, prepare(load(file), tmp_path)
    assert isinstance(build(task, dataset, tmp_path, 0).trainer.train_dataset, LengthOrdered)
    chosen = task.model_copy(update={"training": {"train_sampling_strategy": "random"}})
    trainer = build(chosen, dataset, tmp_path, 0).trainer
    assert isinstance(trainer.train_dataset, list)
    assert trainer.args.train_sampling_strategy == "random"


def task() -> Any:
    return SimpleNamespace(max_length=4, settings=SimpleNamespace(max_target_length=3))


def test_what_is_cut_off_is_not_counted_and_what_is_not_padded_has_no_length():
    rows = [{"input_ids": [1] * n, "target": [1] * n} for n in (2, 5)]
    for given in (rows, Dataset.from_list(rows)):
        assert TASKS["text-classification"].padded_lengths(task(), given) == [2, 4]
        assert TASKS["seq2seq"].padded_lengths(task(), given) == [4, 7]
    assert TASKS["image-classification"].padded_lengths(task(), rows) is None
    assert TASKS["language-modeling"].padded_lengths(task(), rows) is None
