"""A trial that is cut off, and resumes to the last digit."""

import json
import os
import random
import signal
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hpo_pipeline.data.prepare import prepare
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.results.files import RESUME_FOLDER
from hpo_pipeline.results.trial import Point, Trial, read_trial
from hpo_pipeline.trial.__main__ import main
from hpo_pipeline.trial.command import TrialCommand, full_argv
from hpo_pipeline.trial.resuming import training_state
from hpo_pipeline.trial.resuming.checkpoints import Checkpoints, Record
from hpo_pipeline.trial.training.callback import TrialCallback

TRAINING = "{num_train_epochs: 3, per_device_train_batch_size: 8}"  # 15 steps an epoch
EVERY = "checkpoint: {every: 4}"


class CutOff(BaseException):
    """Ends a training in this process as abruptly as a kill."""


@pytest.fixture
def command(write_experiment, tmp_path):
    """Return a function that gives the command of a trial with checkpoints."""

    def make(name="t", *, training=TRAINING, every=EVERY, **sections) -> TrialCommand:
        file = write_experiment(training=training, extra=every, **sections)
        dataset = prepare(load(file), tmp_path)
        return TrialCommand(file, dataset, tmp_path / "trials", name, 0, {"learning_rate": "0.02"})

    return make


def run(command: TrialCommand) -> Trial:
    main(command.argv())
    trial = read_trial(command.output / command.name)
    assert trial is not None
    return trial


def cut_off_at(step: int, command: TrialCommand, monkeypatch) -> None:
    """Run a trial until a training step is done, and no further."""
    whole = TrialCallback.on_step_end

    def ends(self, args, state, control, **kwargs):
        if state.global_step == step:
            raise CutOff
        whole(self, args, state, control, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(TrialCallback, "on_step_end", ends)
        with pytest.raises(CutOff):
            main(command.argv())


def resume_folder(command: TrialCommand) -> Path:
    return command.output / command.name / RESUME_FOLDER


def assert_equal(one: TrialCommand, other: TrialCommand) -> None:
    """Fail unless two trials have the same weights, to the last digit, and the same curve."""
    weights, others = (
        load_file(str(c.output / c.name / "model/model.safetensors")) for c in (one, other)
    )
    assert weights.keys() == others.keys()
    for name, tensor in weights.items():
        assert torch.equal(tensor, others[name]), name
    curves = [read_trial(c.output / c.name).curve for c in (one, other)]
    assert curves[0] == curves[1]


@pytest.mark.parametrize(
    "training",
    [
        TRAINING,
        "{num_train_epochs: 3, per_device_train_batch_size: 8, eval_strategy: steps, eval_steps: 4,"
        " gradient_accumulation_steps: 2, lr_scheduler_type: cosine, warmup_steps: 3}",
        "{num_train_epochs: 3, per_device_train_batch_size: 8, optim: sgd,"
        " train_sampling_strategy: group_by_length}",
    ],
)
def test_a_trial_that_is_cut_off_twice_ends_as_an_undisturbed_one(command, monkeypatch, training):
    whole, broken = command("whole", training=training), command("broken", training=training)
    reference = run(whole)
    cut_off_at(10, broken, monkeypatch)
    assert [p.name for p in resume_folder(broken).iterdir()] == ["step-8"]
    cut_off_at(19, broken, monkeypatch)
    assert [p.name for p in resume_folder(broken).iterdir()] == ["step-16"]
    trial = run(broken)
    assert_equal(whole, broken)
    assert trial.metrics["accuracy"] == reference.metrics["accuracy"]
    assert (trial.best_step, trial.training_steps) == (
        reference.best_step,
        reference.training_steps,
    )
    assert trial.seconds.keys() == reference.seconds.keys()
    assert not resume_folder(broken).exists()


IMAGES = (
    "kind: image-classification\nmodel: vit\nfrom_scratch: true\ndata: digits\nflip: true\n"
    "rotation: 20\nrows: {train: 80, validation: 20, test: 20}\nconfig: {hidden_size: 16, "
    "num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 16, patch_size: 4}\n"
    "checkpoint: {every: 4}\ntraining: {num_train_epochs: 2, per_device_train_batch_size: 8}"
)
MASKED = (
    "kind: language-modeling\nlanguage_model: masked\nmodel: bert\nfrom_scratch: true\n"
    "vocab_size: 60\ndata: DATA\nmax_length: 12\nrows: {train: 80, validation: 20, test: 20}\n"
    "config: {hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, "
    "intermediate_size: 16}\ncheckpoint: {every: 4}\n"
    "training: {num_train_epochs: 2, per_device_train_batch_size: 8}"
)


@pytest.mark.parametrize("task", [IMAGES, MASKED], ids=["changed images", "hidden tokens"])
def test_what_is_random_about_a_batch_is_the_same_after_a_cut(
    command, monkeypatch, task, sentences
):
    task = task.replace("DATA", str(sentences))
    metric = "{metric: loss, goal: minimize}"
    whole, broken = (command(name, task=task, objective=metric) for name in ("whole", "broken"))
    run(whole)
    cut_off_at(7, broken, monkeypatch)
    assert [p.name for p in resume_folder(broken).iterdir()] == ["step-4"]
    run(broken)
    assert_equal(whole, broken)


@pytest.mark.parametrize("step", [15, 16, 30, 31])
def test_the_end_of_an_epoch_is_saved_with_its_evaluation(command, monkeypatch, step):
    every = "checkpoint: {every: 15}"
    whole, broken = command("whole", every=every), command("broken", every=every)
    run(whole)
    cut_off_at(step, broken, monkeypatch)
    run(broken)
    assert_equal(whole, broken)


def test_the_best_weights_of_before_the_cut_are_those_of_the_result(command, monkeypatch):
    parts = {"objective": "{score: loss + 0, goal: maximize}", "every": "checkpoint: {every: 20}"}
    whole, broken = command("whole", **parts), command("broken", **parts)
    assert run(whole).best_step == 1
    cut_off_at(24, broken, monkeypatch)
    assert run(broken).best_step == 1
    assert_equal(whole, broken)


def test_a_member_of_a_population_resumes_within_its_interval(command, monkeypatch):
    parts = {
        "search": "{algorithm: pbt, seed: 1, settings: {population: 2}}",
        "budget": "{trials: 6, parallel: 2}",
    }
    for name in ("whole", "broken"):
        parent = command(f"{name}-0", **parts)
        run(parent)
        child = replace(command(f"{name}-2", **parts), number=2, resume=parent.output / parent.name)
        child = replace(child, assignments={"learning_rate": "0.01"})
        if name == "broken":
            cut_off_at(22, child, monkeypatch)
            assert resume_folder(child).exists()
        trial = run(child)
        assert (trial.parent, trial.training_steps, trial.curve[0].step) == (0, 30, 2)
    assert_equal(replace(child, name="whole-2"), child)


def test_a_cut_off_by_sigterm_is_saved_at_its_step(command):
    long = command(
        "long",
        training="{num_train_epochs: 10000, per_device_train_batch_size: 8}",
        every="checkpoint: {every: 10 min}",
    )
    with subprocess.Popen(full_argv(long), stdout=subprocess.PIPE, env=os.environ) as process:
        assert process.stdout is not None
        process.stdout.readline()  # the first evaluation
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
    assert process.returncode == 143
    (saved,) = resume_folder(long).iterdir()
    record = json.loads((saved / "checkpoint.json").read_text())["record"]
    assert saved.name == f"step-{record['step']}"
    assert record["step"] >= record["curve"][-1]["training_step"] >= 15
    assert read_trial(long.output / "long") is None


def test_the_engine_hears_of_the_curve_and_of_no_point_twice(command, monkeypatch):
    broken = command()
    cut_off_at(18, broken, monkeypatch)
    ours, theirs = socket.socketpair()
    with ours:
        ours.sendall(b"go\n" * 10)
        main([*broken.argv(), "--channel", str(theirs.detach())])
        messages = [json.loads(line) for line in ours.recv(1 << 20).splitlines()]
    assert [m["event"] for m in messages] == ["training", "resumed", "evaluated", "evaluated"]
    assert [p["step"] for p in messages[1]["curve"]] == [1]
    assert [m["point"]["step"] for m in messages[2:]] == [2, 3]


def test_pods_without_a_common_file_system_resume_from_the_storage(command, monkeypatch, tmp_path):
    whole, broken = command("whole"), command("broken")
    run(whole)
    uri = (tmp_path / "bucket").as_uri()
    first = replace(broken, storage=uri, output=tmp_path / "pod-1/runs/toy/trials")
    second = replace(broken, storage=uri, output=tmp_path / "pod-2/runs/toy/trials")
    cut_off_at(10, first, monkeypatch)
    stored = tmp_path / "bucket/runs/toy/trials/broken"
    assert {p.name for p in (stored / RESUME_FOLDER).iterdir()} == {"newest.json", "step-8"}
    run(second)
    assert_equal(whole, second)
    assert {p.name for p in stored.iterdir()} == {"model", "result.json"}


def test_a_checkpoint_of_another_configuration_is_not_resumed(command, monkeypatch, caplog):
    broken = command()
    cut_off_at(10, broken, monkeypatch)
    other = replace(broken, assignments={"learning_rate": "0.001"})
    assert run(other).curve[0].training_step == 15
    assert "of another configuration, version or data" in caplog.text


def record(step: int) -> Record:
    return Record("key", step, (Point(1, step, 1.0, {"f1": 0.5}),), 1, {"train": 1.0}, {})


def fill(folder: Path) -> None:
    (folder / "weights").write_bytes(b"w" * 1000)


def test_only_the_newest_checkpoint_stays(tmp_path):
    store = Checkpoints(tmp_path, "key")
    assert store.write(record(4), fill)
    assert store.write(record(8), fill)
    assert [p.name for p in (tmp_path / RESUME_FOLDER).iterdir()] == ["step-8"]
    saved = store.newest()
    assert saved is not None
    assert saved.record == record(8)
    assert Checkpoints(tmp_path, "another").newest() is None


def test_a_full_disk_costs_one_checkpoint_and_not_the_trial(tmp_path, caplog):
    def full(folder: Path) -> None:
        fill(folder)
        raise OSError(28, "No space left on device")

    store = Checkpoints(tmp_path, "key")
    store.write(record(4), fill)
    assert not store.write(record(8), full)
    assert "no checkpoint at step 8" in caplog.text
    assert [p.name for p in (tmp_path / RESUME_FOLDER).iterdir()] == ["step-4"]


def test_a_kill_in_the_middle_of_writing_costs_that_checkpoint_only(tmp_path):
    def killed(folder: Path) -> None:
        fill(folder)
        raise CutOff

    store = Checkpoints(tmp_path, "key")
    store.write(record(4), fill)
    with pytest.raises(CutOff):
        store.write(record(8), killed)
    saved = Checkpoints(tmp_path, "key").newest()
    assert saved is not None
    assert saved.record.step == 4
    assert [p.name for p in (tmp_path / RESUME_FOLDER).iterdir()] == ["step-4"]


@pytest.mark.parametrize("damage", [b"", b"v" + b"w" * 999])
def test_a_damaged_checkpoint_is_not_resumed(tmp_path, damage):
    store = Checkpoints(tmp_path, "key")
    store.write(record(4), fill)
    (tmp_path / RESUME_FOLDER / "step-4/weights").write_bytes(damage)
    assert store.newest() is None


def test_weights_under_two_names_are_written_once(tmp_path):
    model = torch.nn.ModuleDict({"one": torch.nn.Linear(3, 3, bias=False)})
    model["two"] = model["one"]
    model["part"] = torch.nn.Linear(3, 1, bias=False)
    model["part"].weight = torch.nn.Parameter(torch.arange(6.0).view(2, 3)[1:])
    before = training_state.copy_weights(model)
    training_state.write_weights(training_state.trained_weights(model), tmp_path / "w.safetensors")
    written = load_file(str(tmp_path / "w.safetensors"))
    assert sorted(written) == ["one.weight", "part.weight"]
    torch.nn.init.zeros_(model["one"].weight)
    training_state.restore_weights(model, written)
    assert torch.equal(model["two"].weight, before["two.weight"])


def test_all_random_numbers_go_on_where_they_were(tmp_path):
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    np.random.normal()  # leaves one in store
    training_state.write_epoch(tmp_path, training_state.random_state())
    first = (random.random(), np.random.normal(), torch.rand(1).item())
    training_state.set_random_state(training_state.read_epoch(tmp_path))
    assert (random.random(), np.random.normal(), torch.rand(1).item()) == first
