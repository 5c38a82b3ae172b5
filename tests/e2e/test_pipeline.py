"""The whole pipeline by kfp.local with its search on a real cluster: `make e2e`.

HPO_E2E_IMAGE names the image of the trials; the registry is the folder in the storage.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hpo_pipeline.engines.kubernetes.api import EXPERIMENTS, JOBS, KubernetesApi
from hpo_pipeline.engines.kubernetes.pods import WORK_LABEL

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore")]  # of kfp's own
ROOT = Path(__file__).parents[2]
NAMESPACE = os.environ.get("HPO_E2E_NAMESPACE", "hpo")
IMAGE = os.environ.get("HPO_E2E_IMAGE", "hpo-trial:dev")
KILLS = int(os.environ.get("HPO_E2E_KILLS", "3"))

EXPERIMENT = """
name: e2e-kfp
task:
  kind: image-classification
  model: vit
  from_scratch: true
  data: digits
  rows: {train: 400, validation: 200, test: 200}
  config: {patch_size: 2, hidden_size: 16, num_attention_heads: 2, intermediate_size: 32}
  training: {num_train_epochs: 2, per_device_train_batch_size: 32}
objective: {metric: accuracy, goal: maximize}
space:
  learning_rate: {type: float, low: 1.0e-4, high: 1.0e-1, log: true}
search: {algorithm: tpe, seed: 0}
stopping: {algorithm: median, min_trials: 3, start_step: 1}
budget: {trials: 4, parallel: 2, minutes: 20}
register: {model: e2e-kfp}
cluster: {cpu: 400m, memory: 1Gi}
"""


@pytest.fixture(scope="module")
def api():
    if "KUBECONFIG" not in os.environ:
        pytest.skip("KUBECONFIG names no cluster")
    return KubernetesApi()


def step(code: str, folder: Path, **values: str) -> subprocess.Popen:
    """Start one step as a process of its own, as a pod would."""
    script = (
        "import sys, json; from hpo_pipeline.kubeflow import steps; v = json.loads(sys.argv[1]); "
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (folder / "log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-c", script + code, json.dumps(values)],
            stdout=log,
            stderr=log,
            env=environment,
        )


def test_the_pipeline_runs_on_the_cluster_from_end_to_end(api, tmp_path, monkeypatch):
    from kfp import local

    from pipelines.hpo import hpo

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    local.init(
        runner=local.SubprocessRunner(use_venv=False),
        pipeline_root=str(tmp_path / "steps"),
        raise_on_error=True,
    )
    hpo(experiment=EXPERIMENT, engine="katib", trial_image=IMAGE, namespace=NAMESPACE)
    (board,) = (tmp_path / "steps").glob("*/report*/leaderboard")
    assert "e2e-kfp version" in board.read_text("utf-8")
    (told,) = (tmp_path / "steps").glob("*/search/executor_output.json")
    found = json.loads(told.read_text("utf-8"))
    metrics = found["artifacts"]["metrics"]["artifacts"][0]["metadata"]
    assert metrics["trials"] == 4
    assert metrics["failed"] == 0


def test_a_search_step_that_is_killed_again_and_again_runs_one_experiment(api, tmp_path):
    """Killed at random moments and retried, as Argo does; then one registration, twice."""
    from hpo_pipeline.kubeflow import steps

    run_id, rng = f"kill-{time.time():.0f}", random.Random(0)
    checked = steps.check(EXPERIMENT, "katib", run_id, namespace=NAMESPACE, trial_image=IMAGE)
    before = names(api, EXPERIMENTS)
    call = "steps.search(v['text'], 'katib', v['out'])"
    for kill in range(KILLS):
        out = str(tmp_path / f"killed-{kill}")
        process = step(call, tmp_path, text=checked.experiment, out=out)
        time.sleep(rng.uniform(0.5, 12))
        process.send_signal(signal.SIGKILL)
        process.wait()
    found = steps.search(checked.experiment, "katib", tmp_path / "1")
    assert found["trials"] == 4
    assert found["failed"] == 0
    (name,) = names(api, EXPERIMENTS) - before
    steps.confirm(tmp_path / "1", "katib", tmp_path / "2")
    steps.select(tmp_path / "2", "katib", tmp_path / "3")
    steps.gate(tmp_path / "3", "katib", tmp_path / "4")
    titles = {
        steps.register(tmp_path / "4", "katib", tmp_path / out, run_id=run_id).title
        for out in ("5", "6")
    }
    assert len(titles) == 1
    jobs = api.list(JOBS, NAMESPACE, labels=f"{WORK_LABEL}={name}")["items"]
    assert len(jobs) == 2  # gate and register
    assert not steps.wind_up(
        EXPERIMENT,
        "katib",
        run_id,
        status="SUCCEEDED",
        leaderboard=tmp_path / "end.md",
        namespace=NAMESPACE,
    )


def names(api, kind):
    items = api.list(kind, NAMESPACE)["items"]
    return {i["metadata"]["name"] for i in items if i["metadata"]["name"].startswith("e2e-kfp-")}
