"""Trials on a real cluster whose pods are evicted, whose nodes are lost, or whose data change."""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
from datetime import UTC, datetime

import pytest

from hpo_pipeline.engines.kubernetes.api import CONFIG_MAPS
from hpo_pipeline.engines.kubernetes.diagnosis import created
from hpo_pipeline.errors import ClusterError
from tests.e2e.experiments import (
    NAMESPACE,
    evict,
    lose,
    run,
    running_trial_pods,
    summary,
    trials,
    wait_for,
)

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("disrupt", [evict, lose])
def test_a_trial_that_is_cut_off_runs_again(api, clean, write, tmp_path, disrupt):
    file = write(stopping="{algorithm: none}", budget="{trials: 2, parallel: 2}", epochs=60)
    disrupted = []

    def disturb_once():
        wait_for(lambda: running_trial_pods(api))
        time.sleep(25)  # loading takes some; then it trains
        for pod in running_trial_pods(api):
            disrupt(pod)
            disrupted.append(pod["metadata"]["name"])

    thread = threading.Thread(target=disturb_once)
    thread.start()
    done = run(file, tmp_path / "run")
    thread.join()
    assert done.returncode == 0, done.stdout + done.stderr
    assert disrupted
    assert summary(tmp_path / "run")["trials"] == {"succeeded": 2}
    for trial in (tmp_path / "run" / "trials").glob("*/result.json"):
        curve = json.loads(trial.read_text())["curve"]
        assert [point["epoch"] for point in curve][-1] == 60


def test_after_ten_disruptions_every_result_is_of_a_whole_trial(api, clean, write, tmp_path):
    file = write(stopping="{algorithm: none}", budget="{trials: 4, parallel: 2}", epochs=40)
    disrupted, is_over, rng = [], threading.Event(), random.Random(0)

    def disturb():
        while len(disrupted) < 10 and not is_over.wait(rng.uniform(3, 12)):
            for pod in running_trial_pods(api)[:1]:
                with contextlib.suppress(ClusterError):  # it may just have ended
                    rng.choice([evict, lose])(pod)
                    disrupted.append(pod["metadata"]["name"])

    thread = threading.Thread(target=disturb)
    thread.start()
    done = run(file, tmp_path / "run", timeout=1800)
    is_over.set()
    thread.join()
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(disrupted) == 10
    assert summary(tmp_path / "run")["trials"] == {"succeeded": 4}
    for trial in (tmp_path / "run" / "trials").glob("*/result.json"):
        curve = json.loads(trial.read_text())["curve"]
        assert [point["epoch"] for point in curve] == list(range(1, 41))


def test_a_trial_that_is_disrupted_again_and_again_comes_back_soon(api, clean, write, tmp_path):
    file = write(stopping="{algorithm: none}", budget="{trials: 1}", epochs=60)
    pauses = []

    def disturb():
        for _ in range(5):
            wait_for(lambda: running_trial_pods(api))
            (pod,) = running_trial_pods(api)
            at = datetime.now(UTC)
            evict(pod)
            wait_for(lambda at=at: [p for p in running_trial_pods(api) if created(p) >= at])
            (pod,) = running_trial_pods(api)
            pauses.append((created(pod) - at).total_seconds())

    thread = threading.Thread(target=disturb)
    thread.start()
    done = run(file, tmp_path / "run")
    thread.join()
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(pauses) == 5
    assert max(pauses) < 35  # Kubernetes alone would take 160 s for the last one
    (trial,) = (tmp_path / "run" / "trials").glob("*/result.json")
    assert json.loads(trial.read_text())["curve"][-1]["epoch"] == 60


def test_a_trial_with_checkpoints_resumes_in_its_next_pod(api, clean, write, tmp_path):
    file = write(stopping="{algorithm: none}", budget="{trials: 1}", epochs=60)
    file.write_text(
        file.read_text().replace("  training:", "  checkpoint: {every: 13}\n  training:")
    )
    told = []

    def lines(pod):
        return list(api.log(NAMESPACE, pod["metadata"]["name"], container="trial"))

    def disturb():
        wait_for(lambda: running_trial_pods(api))
        (pod,) = running_trial_pods(api)
        wait_for(lambda: sum(" epoch=" in line for line in lines(pod)) > 5)
        evict(pod)
        wait_for(lambda: [p for p in running_trial_pods(api) if created(p) > created(pod)])
        (pod,) = running_trial_pods(api)
        wait_for(lambda: any("training begins" in line for line in lines(pod)))
        told.extend(lines(pod))

    thread = threading.Thread(target=disturb)
    thread.start()
    done = run(file, tmp_path / "run")
    thread.join()
    assert done.returncode == 0, done.stdout + done.stderr
    assert any("resuming from the checkpoint at step" in line for line in told)
    (trial,) = (tmp_path / "run" / "trials").glob("*/result.json")
    curve = json.loads(trial.read_text())["curve"]
    assert [point["epoch"] for point in curve] == list(range(1, 61))


TEXTS = """
name: e2e
task:
  kind: text-classification
  model: bert
  from_scratch: true
  vocab_size: 200
  data: /storage/corpus/reviews.csv
  rows: {train: 60, validation: 20, test: 20}
  max_length: 8
  config: {hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 1, intermediate_size: 8}
  training: {num_train_epochs: 1}
objective: {metric: accuracy, goal: maximize}
space: {learning_rate: {type: float, low: 1.0e-5, high: 1.0e-1, log: true}}
search: {algorithm: random}
budget: {trials: 12}
cluster:
  cpu: 400m
  memory: 1Gi
  volumes: [{name: corpus, configMap: {name: e2e-corpus}}]
  volume_mounts: [{name: corpus, mountPath: /storage/corpus}]
"""


def corpus(word):
    """Return a ConfigMap with a table of 120 texts."""
    rows = [f"{word} {i},{'up' if i % 3 else 'down'}" for i in range(120)]
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "e2e-corpus"}}
    return {**body, "data": {"reviews.csv": "\n".join(["text,label", *rows])}}


def test_a_search_whose_data_change_ends(api, clean, tmp_path):
    file = tmp_path / "e2e.yaml"
    file.write_text(TEXTS)
    with contextlib.suppress(ClusterError):
        api.delete(CONFIG_MAPS, NAMESPACE, "e2e-corpus")
    api.create(CONFIG_MAPS, NAMESPACE, corpus("fine"))

    def change():
        wait_for(lambda: len(trials(api, "e2e")) > 1)
        api.patch(CONFIG_MAPS, NAMESPACE, "e2e-corpus", {"data": corpus("poor")["data"]})

    thread = threading.Thread(target=change)
    thread.start()
    done = run(file, tmp_path / "run")
    thread.join()
    assert done.returncode == 2, done.stdout + done.stderr
    assert "have changed since this run was started" in done.stderr
    states = summary(tmp_path / "run")["trials"]
    assert states["failed"] == 1
    assert states["succeeded"] < 11
