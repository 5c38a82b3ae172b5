"""Population based training on real processes and a tiny real model."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from hpo_pipeline.data.prepare import prepare
from hpo_pipeline.engines import RunContext
from hpo_pipeline.engines.interruption import Interruption
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.reports.terminal.plain_lines import PlainLines
from hpo_pipeline.results.run_folder import RunFolder
from hpo_pipeline.results.trial import Trial, TrialState, read_trial
from hpo_pipeline.trial.__main__ import main
from hpo_pipeline.trial.command import TrialCommand, parse
from tests.engines.test_local import search
from tests.nursery import start_server

SPACE = (
    "{learning_rate: {type: float, low: 1.0e-4, high: 1.0e-1, log: true}, "
    "weight_decay: {type: float, low: 0.0, high: 0.1}}"
)
LOSS = "{metric: loss, goal: minimize}"


def pbt(size: int, resample: float = 0.25) -> str:
    return f"{{algorithm: pbt, seed: 1, settings: {{population: {size}, resample: {resample}}}}}"


@pytest.fixture
def file(write_experiment):
    """An experiment with two members and three intervals of one epoch and a bit."""
    return write_experiment(
        training="{num_train_epochs: 4, per_device_train_batch_size: 8}",
        objective=LOSS,
        space=SPACE,
        search=pbt(2),
        budget="{trials: 6}",
    )


@pytest.fixture
def run_trial(tmp_path):
    """Return a function that runs one trial in this process and returns its result."""

    def run(file: Path, number: int, *, resume: int | None = None, **assignments: float) -> Trial:
        output = tmp_path / "trials"
        command = TrialCommand(
            file,
            prepare(load(file), tmp_path),
            output,
            f"{file.stem}-{number}",
            number,
            {name: repr(value) for name, value in assignments.items()},
            resume=None if resume is None else output / f"{file.stem}-{resume}",
        )
        assert parse(command.argv()) == command
        main(command.argv())
        trial = read_trial(output / command.name)
        assert trial is not None
        return trial

    return run


SAME = {"learning_rate": 0.01, "weight_decay": 0.05}


def test_an_interval_ends_in_time_with_an_evaluation_and_goes_on_in_the_next(file, run_trial):
    first, second = run_trial(file, 0, **SAME), run_trial(file, 2, resume=0, **SAME)
    third = run_trial(file, 4, resume=2, **SAME)
    assert [t.training_steps for t in (first, second, third)] == [20, 40, 60]
    assert [t.parent for t in (first, second, third)] == [None, 0, 2]
    points = [*first.curve, *second.curve, *third.curve]
    assert [p.step for p in points] == list(range(1, len(points) + 1))
    assert [p.training_step for p in points] == [15, 20, 30, 40, 45, 60]
    assert second.best_step in (3, 4)


VIT = """{kind: image-classification, model: vit, from_scratch: true, data: digits, \
rows: {train: 120, validation: 40, test: 40}, \
config: {patch_size: 4, hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, \
intermediate_size: 16}, training: {num_train_epochs: 4, per_device_train_batch_size: 8, \
eval_strategy: steps, eval_steps: 5}}"""


@pytest.mark.parametrize("task", [{}, {"task": VIT}], ids=["bert", "vit"])
def test_intervals_with_the_same_settings_are_one_training(write_experiment, run_trial, task):
    # Of a ViT, transformers saves the weights under other names than it loads.
    often = {
        "training": "{num_train_epochs: 4, per_device_train_batch_size: 8, "
        "eval_strategy: steps, eval_steps: 5}",
        "objective": LOSS,
        "space": SPACE,
        **task,
    }
    whole_file = write_experiment("whole", **often)
    cut_file = write_experiment("cut", **often, search=pbt(2), budget="{trials: 6}")
    whole = run_trial(whole_file, 0, **SAME)
    cut = [run_trial(cut_file, 0, **SAME), run_trial(cut_file, 2, resume=0, **SAME)]
    cut.append(run_trial(cut_file, 4, resume=2, **SAME))
    losses = [p.metrics["loss"] for trial in cut for p in trial.curve]
    assert losses == [p.metrics["loss"] for p in whole.curve]


def test_a_child_trains_with_its_own_settings(file, run_trial, tmp_path):
    import torch

    run_trial(file, 0, learning_rate=0.01, weight_decay=0.0)
    run_trial(file, 2, resume=0, learning_rate=0.02, weight_decay=0.1)
    folder = tmp_path / "trials/toy-2/checkpoint/checkpoint-40"
    optimizer = torch.load(folder / "optimizer.pt", weights_only=True)
    decayed, plain = optimizer["param_groups"]
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    # The schedule is linear to 0 over all 60 steps, at twice the parent's rate.
    assert decayed["lr"] == plain["lr"] == pytest.approx(0.02 * 20 / 60)
    scheduler = torch.load(folder / "scheduler.pt", weights_only=True)
    assert scheduler["base_lrs"] == [0.02, 0.02]


def test_the_last_interval_leaves_no_checkpoint(file, run_trial, tmp_path):
    run_trial(file, 0, **SAME)
    run_trial(file, 4, resume=0, **SAME)
    assert (tmp_path / "trials/toy-0/checkpoint/checkpoint-20").is_dir()
    assert not list(tmp_path.glob("trials/toy-4/checkpoint/*"))


def test_a_lost_checkpoint_is_a_failure_with_its_reason(file, run_trial, tmp_path):
    run_trial(file, 0, **SAME)
    (tmp_path / "trials/toy-0/checkpoint").rename(tmp_path / "elsewhere")
    trial = run_trial(file, 2, resume=0, **SAME)
    assert trial.state == TrialState.FAILED
    assert trial.parent == 0
    assert "toy-0: the checkpoint from which this trial should resume is gone" in trial.reason


def test_a_training_shorter_than_its_intervals_is_a_failure_with_its_reason(
    write_experiment, run_trial
):
    file = write_experiment(
        training="{max_steps: 2}", search=pbt(2), space=SPACE, budget="{trials: 6}"
    )
    trial = run_trial(file, 0, **SAME)
    assert "the training has 2 steps, too few for 3 intervals" in trial.reason


def run(file: Path, folder: Path, log) -> subprocess.Popen:
    command = [sys.executable, "-m", "hpo_pipeline", "run", str(file), "--run", str(folder)]
    return subprocess.Popen(command, stdout=log, stderr=log)


def check(folder: Path, *, size: int, generations: int) -> list[Trial]:
    """Check what must hold for every complete run, and return its trials."""
    trials = RunFolder(folder).finished_trials()
    assert [t.number for t in trials] == list(range(size * generations))
    assert {t.state for t in trials} == {TrialState.SUCCEEDED}
    for trial in trials[size:]:
        parent = trials[trial.parent]
        assert parent.number // size == trial.number // size - 1
        assert trial.curve[0].step == parent.curve[-1].step + 1
        assert trial.training_steps > parent.training_steps
        own = trial.parent == trial.number - size
        assert not own or trial.assignments == parent.assignments
    assert not list(folder.glob("trials/*/checkpoint/checkpoint-*"))
    assert len(list(folder.glob("trials/*/model"))) == 1
    return trials


def test_a_run_of_two_generations(write_experiment, tmp_path):
    file = write_experiment(
        training="{num_train_epochs: 4, per_device_train_batch_size: 8}",
        objective=LOSS,
        space=SPACE,
        search=pbt(4),
        budget="{trials: 8, parallel: 2}",
    )
    folder = RunFolder(tmp_path / "run")
    folder.trials.mkdir(parents=True)
    folder.adopt(load(file))
    server = start_server(tmp_path)
    context = RunContext(load(file), folder, PlainLines(load(file), sys.stderr))
    dataset = prepare(load(file), tmp_path)
    with Interruption().installed() as interruption, closing(server):
        search(context, server, dataset, interruption)
    trials = check(tmp_path / "run", size=4, generations=2)
    assert any(t.parent != t.number - 4 for t in trials[4:])


def descendants(pid: int) -> list[int]:
    """Return the trials of a run: children of its server, which is the coordinator's child."""

    def children(of: int) -> list[int]:
        try:
            return [int(p) for p in Path(f"/proc/{of}/task/{of}/children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            return []

    return [trial for server in children(pid) for trial in children(server)]


@pytest.mark.slow
def test_kills_of_coordinator_and_trials_are_survived(write_experiment, tmp_path):
    file = write_experiment(
        training="{num_train_epochs: 60, per_device_train_batch_size: 4}",
        objective=LOSS,
        space=SPACE,
        search=pbt(8),
        budget="{trials: 40, parallel: 2, max_failed: 0}",
    )
    rng, folder, kills = random.Random(4), tmp_path / "run", []
    with (tmp_path / "log.txt").open("w") as log:
        process = run(file, folder, log)
        while process.poll() is None and len(kills) < 12:
            time.sleep(rng.uniform(0.5, 9.0))
            trials = descendants(process.pid)
            if trials and rng.random() < 0.5:
                os.kill(rng.choice(trials), signal.SIGKILL)
                kills.append("trial")
            else:
                process.kill()
                process.wait()
                process = run(file, folder, log)
                kills.append("coordinator")
        assert process.wait() == 0, (tmp_path / "log.txt").read_text()
    print(f"{kills.count('trial')} trials and {kills.count('coordinator')} coordinators killed")
    assert set(kills) == {"trial", "coordinator"}
    check(folder, size=8, generations=5)
