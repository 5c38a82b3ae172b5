"""Trials that train on shares of their rows first (`resource: rows`)."""

import gc
import json
import socket
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from datasets import Dataset

from hpo_pipeline.data.prepare import prepare
from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.checks.notes import notes
from hpo_pipeline.experiment.checks.strategies import strategy_faults
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.experiment.stopping import AshaStopping
from hpo_pipeline.results.training_progress import training_progress
from hpo_pipeline.results.trial import Point, Trial, TrialState, read_trial
from hpo_pipeline.trial.__main__ import main
from hpo_pipeline.trial.command import TrialCommand
from hpo_pipeline.trial.training.row_shares import nested_order, share_of
from tests.toys import TASK, toy_experiment
from tests.trial.test_checkpoints import EVERY, assert_equal, cut_off_at, resume_folder

ROWS = "{algorithm: asha, resource: rows, reduction_factor: 3}"
TRAINING = "{num_train_epochs: 3, per_device_train_batch_size: 8}"
"""Of 120 rows: 14 of them take 2 steps an epoch, 40 take 5, and all take 15."""


@pytest.fixture
def command(write_experiment, tmp_path):
    """Return a function that gives the command of a trial that is judged by rows."""

    def make(name="t", **sections) -> TrialCommand:
        file = write_experiment(**{"stopping": ROWS, "training": TRAINING, **sections})
        dataset = prepare(load(file), tmp_path)
        return TrialCommand(file, dataset, tmp_path / "trials", name, 0, {"learning_rate": "0.02"})

    return make


def judged(command: TrialCommand, answers: str = "go " * 20) -> tuple[Trial, list[Point]]:
    """Run a trial whose evaluations are answered; return its result and what it reported."""
    ours, theirs = socket.socketpair()
    with ours:
        ours.sendall("".join(f"{answer}\n" for answer in answers.split()).encode())
        main([*command.argv(), "--channel", str(theirs.detach())])
        messages = [json.loads(line) for line in ours.recv(1 << 20).splitlines()]
    assert sum(m["event"] == "training" for m in messages) == 1
    trial = read_trial(command.output / command.name)
    assert trial is not None
    return trial, [Point(**m["point"]) for m in messages if m["event"] == "evaluated"]


def test_a_trial_trains_on_shares_and_then_as_if_there_were_none(command):
    plain = command("plain", stopping="{algorithm: none}")
    reference, _ = judged(plain)
    shares = command("shares")
    trial, reported = judged(shares)
    assert trial.curve == tuple(reported)
    assert [p.step for p in reported] == [1, 2, 3, 4, 5]
    assert [p.training_step for p in reported] == [6, 21, 36, 51, 66]
    assert [p.epoch for p in reported] == [0, 0, 1, 2, 3]
    assert [p.metrics for p in reported[2:]] == [p.metrics for p in reference.curve]
    assert (trial.state, trial.training_steps) == (TrialState.SUCCEEDED, 66)
    assert trial.best_step == reference.best_step + 2
    assert_equal(plain, replace(shares, name="plain"))
    progress = training_progress(load(shares.experiment), replace(trial, curve=trial.curve[:3]))
    assert (progress.epoch, progress.step, progress.steps) == (1, 15, 45)


def test_a_trial_that_is_stopped_at_a_share_keeps_its_model(command):
    trial, reported = judged(command(), "go stop")
    assert (trial.state, trial.training_steps, trial.best_step) == (TrialState.STOPPED, 21, 2)
    assert trial.curve == tuple(reported)
    assert trial.metrics["accuracy"] == reported[1].metrics["accuracy"]
    assert (Path(command().output) / "t/model/model.safetensors").exists()


def test_who_cannot_be_stopped_trains_on_all_rows_at_once(command):
    confirming = command()
    main(confirming.argv())
    trial = read_trial(confirming.output / "t")
    assert (len(trial.curve), trial.training_steps) == (3, 45)


@pytest.mark.parametrize("share", [1, 2])
def test_a_trial_that_is_cut_off_in_a_share_ends_as_an_undisturbed_one(command, monkeypatch, share):
    parts = {"extra": EVERY, "training": "{num_train_epochs: 4, per_device_train_batch_size: 8}"}
    whole, broken = command("whole", **parts), command("broken", **parts)
    judged(whole)
    ours, theirs = socket.socketpair()
    with ours, warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # a kill closes the channel
        ours.sendall(b"go\n" * 20)
        channel = replace(broken, channel=theirs.detach())
        cut_off_at({1: 5, 2: 14}[share], channel, monkeypatch)  # the first share has 8 steps
        gc.collect()
    (saved,) = resume_folder(broken).iterdir()
    record = json.loads((saved / "checkpoint.json").read_text())["record"]
    assert record["shares"] == share - 1
    trial, reported = judged(broken)
    assert_equal(whole, broken)
    assert [p.step for p in reported] == [1, 2, 3, 4, 5, 6][share - 1 :]
    assert trial.training_steps == 8 + 20 + 60


def test_shares_are_nested_and_have_every_class_in_its_part():
    classes = [0] * 60 + [1] * 30 + [2] * 2
    order = nested_order(92, 0, classes=classes).tolist()
    assert sorted(order) == list(range(92))
    assert {classes[i] for i in order[:3]} == {0, 1, 2}
    assert sum(classes[i] == 0 for i in order[:31]) in (19, 20, 21)
    assert order == nested_order(92, 0, classes=classes).tolist()
    assert order != nested_order(92, 1, classes=classes).tolist()


def test_rows_with_several_labels_or_tags_have_each_of_them_early():
    rows = [
        {"label": [i == 7, i == 70, i % 2 == 1], "tags": [0, 5 if i == 50 else 1]}
        for i in range(90)
    ]
    labels = {i for row in share_of(rows, 0.05, "classes", 3) for i in range(3) if row["label"][i]}
    assert labels == {0, 1, 2}
    table = Dataset.from_list(rows)
    assert {5} <= {tag for row in share_of(table, 0.05, "tags", 3) for tag in row["tags"]}
    small, large = (share_of(table, share, None, 3) for share in (1 / 9, 1 / 3))
    assert (len(small), len(large)) == (10, 30)
    assert all(row in large.to_list() for row in small)


def test_parts_of_the_rows():
    def shares(**fields):
        rule = AshaStopping(algorithm="asha", resource="rows", **fields)
        return [round(1 / share, 3) for share in rule.row_shares]

    assert shares() == [9, 3]
    assert shares(reduction_factor=2) == [4, 2]
    assert shares(max_resource=27) == [27, 9, 3]
    assert shares(grace_period=2, max_resource=20) == [10, 3.333]
    assert AshaStopping(algorithm="asha", max_resource=27).row_shares == ()


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"stopping": {"max_resource": 2}}, "at least grace_period x reduction_factor (3), got 2"),
        ({"task": {"training": {"max_steps": 9}}}, "no training shorter whose max_steps are fixed"),
        ({"task": {"training": {"eval_on_start": True}}}, "does not go with eval_on_start"),
        ({"task": {"rows": {"train": 8}}}, "(1 of 9 parts) of 8 rows is 1 row, fewer than the 2"),
        (
            {"task": {"kind": "custom", "trainer": "a:b", "model": "", "data": ""}},
            "custom trains by code of your own",
        ),
    ],
)
def test_what_cannot_be_judged_by_rows_is_refused(sections, said):
    stopping = {"algorithm": "asha", "resource": "rows", **sections.get("stopping", {})}
    made = toy_experiment(task={**TASK, **sections.get("task", {})}, stopping=stopping)
    (fault,) = strategy_faults({name: getattr(made, name) for name in type(made).model_fields})
    assert said in fault
    assert notes(toy_experiment(stopping={"algorithm": "asha", "resource": "rows"})) == []


def test_fewer_rows_than_classes_in_the_smallest_share_is_said_before_training(
    write_experiment, tmp_path
):
    file = write_experiment(stopping="{algorithm: asha, resource: rows, max_resource: 1000}")
    file.write_text(file.read_text("utf-8").replace("train: 120, ", ""), "utf-8")
    with pytest.raises(DataError, match="share of the 140 training rows is 1, fewer than the 2"):
        prepare(load(file), tmp_path)
