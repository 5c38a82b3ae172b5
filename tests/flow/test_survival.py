"""A run against kill -9 at random moments and against a full disk. Minutes: `make test-slow`."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hpo_pipeline.results.run_folder import RunFolder

pytestmark = pytest.mark.slow

HPO = [sys.executable, "-m", "hpo_pipeline", "run"]
KILLS = 20
TRIALS = 12
QUALITY = ("loss", "accuracy", "f1")


@pytest.fixture
def file(write_experiment):
    return write_experiment(
        training="{num_train_epochs: 30, per_device_train_batch_size: 4}",
        budget=f"{{trials: {TRIALS}, parallel: 2}}",
    )


def outcome(folder: Path) -> dict[str, object]:
    """Return what must not depend on how often a run was broken."""
    return {
        trial.name: (
            trial.state,
            trial.assignments,
            [tuple(point.metrics[name] for name in QUALITY) for point in trial.curve],
        )
        for trial in RunFolder(folder).finished_trials()
    }


def start(file: Path, folder: Path, log) -> subprocess.Popen:
    command = [*HPO, str(file), "--run", str(folder)]
    return subprocess.Popen(command, stdout=log, stderr=log)


def trial_processes(coordinator: int) -> list[int]:
    """Return the trials of a run: children of its server, which is the coordinator's child."""
    found = []
    for server in children(coordinator):
        found += children(server)
    return found


def children(pid: int) -> list[int]:
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def test_twenty_random_kills_change_nothing(file, tmp_path):
    rng = random.Random(20)
    with (tmp_path / "log.txt").open("w") as log:
        assert start(file, tmp_path / "whole", log).wait() == 0
        broken, kills, of_trials = tmp_path / "broken", 0, 0
        process = start(file, broken, log)
        while kills < KILLS:
            time.sleep(rng.uniform(0.2, 7.0))
            if process.poll() is not None:  # it was through: begin anew, kills go on
                shutil.rmtree(broken)
                process = start(file, broken, log)
                continue
            trials = trial_processes(process.pid)
            if trials and rng.random() < 0.5:
                os.kill(rng.choice(trials), signal.SIGKILL)
                of_trials += 1
            else:
                process.kill()
                process.wait()
                process = start(file, broken, log)
            kills += 1
        assert process.wait() == 0
    print(f"{kills} kills, {of_trials} of them of trials")
    assert outcome(broken) == outcome(tmp_path / "whole")
    assert len(outcome(broken)) == TRIALS
    assert finished_in_journal(broken) == TRIALS


def finished_in_journal(folder: Path) -> int:
    """Return how many trials the study has, all of which must be complete."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    storage = optuna.storages.JournalStorage(JournalFileBackend(str(folder / "journal.log")))
    study = optuna.load_study(study_name="toy", storage=storage)
    assert all(t.state == optuna.trial.TrialState.COMPLETE for t in study.trials)
    return len(study.trials)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_ends_the_run_in_words_and_the_next_run_goes_on(file, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("no tmpfs may be mounted here")
    try:
        first = subprocess.run(
            [*HPO, str(file), "--run", str(disk / "run")],
            capture_output=True,
            text=True,
            check=False,
        )
        before = outcome(disk / "run")
        assert first.returncode == 1, first.stdout + first.stderr
        assert "no space is left on the disk" in first.stderr
        grow = ["mount", "-o", "remount,size=50m", str(disk)]
        subprocess.run(grow, check=True)
        again = subprocess.run(
            [*HPO, str(file), "--run", str(disk / "run")],
            capture_output=True,
            text=True,
            check=False,
        )
        assert again.returncode == 0, again.stdout + again.stderr
        after = outcome(disk / "run")
        assert len(after) == TRIALS
        assert {name: after[name] for name in before} == before
        assert json.loads((disk / "run/run.json").read_text())["state"] == "succeeded"
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)
