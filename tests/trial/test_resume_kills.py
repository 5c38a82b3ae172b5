"""A trial against kill -9 at random moments. Minutes: `make test-slow`."""

import os
import random
import signal
import subprocess
import time

import pytest
import torch
from safetensors.torch import load_file

from hpo_pipeline.data.prepare import prepare
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.results.trial import read_trial
from hpo_pipeline.trial.command import TrialCommand, full_argv

pytestmark = pytest.mark.slow

KILLS = 10


def test_ten_random_kills_change_no_digit(write_experiment, tmp_path):
    training = "{num_train_epochs: 20, per_device_train_batch_size: 2}"
    file = write_experiment(training=training, extra="checkpoint: {every: 20}")
    dataset = prepare(load(file), tmp_path)

    def command(name):
        return TrialCommand(file, dataset, tmp_path / "trials", name, 0, {"learning_rate": "0.005"})

    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(full_argv(command("whole")), check=True, **quiet)
    rng, kills, steps = random.Random(10), 0, []
    while kills < KILLS:
        with subprocess.Popen(full_argv(command("broken")), **quiet) as process:
            folder = tmp_path / "trials/broken/resume"
            before = [p.name for p in folder.glob("step-*")] if folder.exists() else []
            while (
                process.poll() is None
                and ([p.name for p in folder.glob("step-*")] if folder.exists() else []) == before
            ):
                time.sleep(0.05)  # it has come further than before, so the kills come to an end
            time.sleep(rng.uniform(0.0, 0.5))
            if process.poll() is not None:
                break
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        steps += [p.name for p in folder.glob("step-*")]
    print(f"{kills} kills, at {', '.join(steps)}")
    subprocess.run(full_argv(command("broken")), check=True, **quiet)
    assert kills == KILLS
    whole, broken = (
        load_file(str(tmp_path / f"trials/{name}/model/model.safetensors"))
        for name in ("whole", "broken")
    )
    assert all(torch.equal(whole[name], broken[name]) for name in whole)
    curves = [read_trial(tmp_path / "trials" / name).curve for name in ("whole", "broken")]
    assert curves[0] == curves[1]
