"""Experiments on a real cluster with a real Katib: `make e2e` with KUBECONFIG set.

The cluster needs Katib 0.19, `hpo katib install`, manifests/base (or an overlay of it) and our
images. `HPO_E2E_REPEATS` says how often each disturbance is tried.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hpo_pipeline.engines.kubernetes.api import EXPERIMENTS, PODS
from hpo_pipeline.engines.kubernetes.names import JOB_LABEL
from hpo_pipeline.results.run_folder import RunFolder
from tests.e2e.cut import Wire
from tests.e2e.experiments import (
    NAMESPACE,
    OURS,
    hpo,
    pods,
    run,
    running_trial_pods,
    summary,
    trials,
    wait_for,
)

pytestmark = pytest.mark.e2e
REPEATS = range(int(os.environ.get("HPO_E2E_REPEATS", "1")))


def disturb(api, file, folder, disturbance, **options):
    """Run an experiment and disturb it once its second trial runs."""
    failures = []

    def act():
        try:
            wait_for(lambda: len(running_trial_pods(api)) > 0 and len(trials(api, "e2e")) > 2)
            disturbance()
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=act)
    thread.start()
    done = run(file, folder, **options)
    thread.join()
    assert not failures, failures
    return done


def assert_whole(api, count=6):
    assert trials(api, "e2e") == [f"e2e-{i:04d}" for i in range(count)]


def test_an_experiment_runs_to_its_end(api, clean, write, tmp_path):
    done = run(write(), tmp_path / "run")
    assert done.returncode == 0, done.stdout + done.stderr
    found = summary(tmp_path / "run")
    assert found["state"] == "succeeded"
    assert sum(found["trials"].values()) == 6
    assert_whole(api)


@pytest.mark.parametrize("repeat", REPEATS)
def test_the_pod_of_the_services_is_deleted(api, clean, write, tmp_path, repeat):
    def disturbance():
        for pod in pods(api, f"{OURS},katib.kubeflow.org/deployment"):
            api.delete(PODS, NAMESPACE, pod["metadata"]["name"])

    done = disturb(api, write(), tmp_path / "run", disturbance)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_whole(api)


@pytest.mark.parametrize("repeat", REPEATS)
def test_katibs_controller_is_restarted(api, clean, write, tmp_path, repeat):
    def disturbance():
        labels = "katib.kubeflow.org/component=controller"
        for pod in api.list(PODS, "kubeflow", labels=labels)["items"]:
            api.delete(PODS, "kubeflow", pod["metadata"]["name"])

    done = disturb(api, write(), tmp_path / "run", disturbance)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_whole(api)


@pytest.mark.parametrize("repeat", REPEATS)
def test_the_pod_of_a_trial_is_deleted(api, clean, write, tmp_path, repeat):
    killed = []

    def disturbance():
        pod = running_trial_pods(api)[-1]
        killed.append(pod["metadata"]["labels"][JOB_LABEL])
        api.delete(PODS, NAMESPACE, pod["metadata"]["name"])

    done = disturb(api, write(), tmp_path / "run", disturbance)
    assert done.returncode == 0, done.stdout + done.stderr
    found = summary(tmp_path / "run")
    assert found["trials"].get("failed", 0) <= 1
    assert_whole(api)


@pytest.mark.parametrize("repeat", REPEATS)
def test_hpo_run_is_killed_and_comes_back(api, clean, write, tmp_path, repeat):
    file, folder = write(), tmp_path / "run"
    command = [sys.executable, "-m", "hpo_pipeline", "run", file, "--engine", "katib"]
    with subprocess.Popen([*command, "--run", folder], stdout=subprocess.DEVNULL) as process:
        wait_for(lambda: len(trials(api, "e2e")) > 2)
        process.kill()
    done = run(file, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sum(summary(folder)["trials"].values()) == 6
    assert_whole(api)


@pytest.mark.parametrize("repeat", REPEATS)
def test_what_pods_told_stays_when_they_are_gone(api, clean, write, tmp_path, repeat):
    file, folder = write(), tmp_path / "run"
    command = [sys.executable, "-m", "hpo_pipeline", "run", file, "--engine", "katib"]
    with subprocess.Popen([*command, "--run", folder], stdout=subprocess.DEVNULL) as process:
        wait_for(lambda: folder.is_dir() and len(RunFolder(folder).finished_trials()) >= 2)
        process.kill()
    told = {trial.name: trial for trial in RunFolder(folder).finished_trials()}
    assert all(trial.curve and trial.environment for trial in told.values())
    for pod in pods(api, f"{OURS},{JOB_LABEL}"):
        if pod["status"].get("phase") == "Succeeded":
            api.delete(PODS, NAMESPACE, pod["metadata"]["name"])
    done = run(file, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    kept = {trial.name: trial for trial in RunFolder(folder).finished_trials()}
    assert {name: kept[name] for name in told} == told
    assert_whole(api)


@pytest.mark.parametrize("repeat", REPEATS)
def test_the_connection_is_cut(api, clean, write, tmp_path, repeat):
    wire = Wire(Path(os.environ["KUBECONFIG"]))
    cuts = []

    def disturbance():
        for _ in range(3):
            cuts.append(len(wire.pairs))
            wire.cut()
            time.sleep(4)

    config = wire.kubeconfig(tmp_path / "kubeconfig")
    done = disturb(api, write(), tmp_path / "run", disturbance, kubeconfig=config)
    wire.close()
    assert done.returncode == 0, done.stdout + done.stderr
    assert max(cuts) >= 3  # the watches of experiment, trials and pods at least
    assert sum(summary(tmp_path / "run")["trials"].values()) == 6
    assert_whole(api)


def test_stop_keeps_what_there_is(api, clean, write, tmp_path):
    file = write(budget="{trials: 50, parallel: 2}", epochs=2000)

    def stop():
        wait_for(lambda: running_trial_pods(api))
        time.sleep(10)
        hpo("stop", "e2e", "-n", NAMESPACE)

    thread = threading.Thread(target=stop)
    thread.start()
    done = run(file, tmp_path / "run")
    thread.join()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stopped: by hpo stop" in done.stdout
    assert summary(tmp_path / "run")["trials"] == {"stopped": 2}


def test_a_target_stops_what_still_runs(api, clean, write, tmp_path):
    file = write(budget="{trials: 50, parallel: 2, target: 0.1}", epochs=30)
    done = run(file, tmp_path / "run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the target 0.1 is reached" in done.stdout


@pytest.mark.parametrize(
    ("cluster", "said"),
    [
        ("{cpu: 400m, memory: 100Mi}", "it was killed for lack of memory; the limit is 100Mi"),
        (
            "{cpu: 400m, memory: 1Gi, image: 'localhost/no-such-image:1'}",
            "the image cannot be pulled",
        ),
        ("{cpu: 64, memory: 1Gi}", "a trial wants cpu 64"),
        ("{memory: 1Gi, storage: {claim: missing}}", "has no claim missing"),
        ("{memory: 1Gi, namespace: elsewhere}", "there is no namespace elsewhere"),
    ],
)
def test_what_cannot_run_says_why(api, clean, write, tmp_path, cluster, said):
    file = write("e2e-bad", cluster=cluster, budget="{trials: 1, max_failed: 0}")
    done = run(file, tmp_path / "run")
    assert done.returncode == 1
    assert said in done.stdout + done.stderr


@pytest.mark.slow
def test_two_hundred_trials_are_all_accounted_for(api, clean, write, tmp_path):
    file = write(
        "e2e-many",
        stopping="{algorithm: none}",
        search="{algorithm: random}",
        budget="{trials: 200, parallel: 2}",
        epochs=1,
        cluster="{cpu: 800m, memory: 1Gi}",
    )
    done = run(file, tmp_path / "run", timeout=7200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert trials(api, "e2e-many") == [f"e2e-many-{i:04d}" for i in range(200)]
    assert summary(tmp_path / "run")["trials"] == {"succeeded": 200}
    size = len(json.dumps(api.get(EXPERIMENTS, NAMESPACE, "e2e-many")))
    assert size < 1_000_000
