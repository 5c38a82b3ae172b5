"""Runs that are killed, on a real MLflow server on loopback: `HPO_MLFLOW=…/bin/mlflow`.

python -m venv /tmp/mlflow && /tmp/mlflow/bin/pip install mlflow
HPO_MLFLOW=/tmp/mlflow/bin/mlflow python -m pytest -m slow tests/trackers/test_real_mlflow.py
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from hpo_pipeline.cli.main import main
from hpo_pipeline.results.run_folder import RunFolder
from hpo_pipeline.trackers.sender import left

MLFLOW = os.environ.get("HPO_MLFLOW", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not MLFLOW, reason="HPO_MLFLOW names no command `mlflow` with a server"),
]
TRIALS, KILLS = 8, 4


class Server:
    """An MLflow server that can be down for a while."""

    def __init__(self, folder):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url, self._folder, self._process = f"http://127.0.0.1:{self.port}", folder, None

    def start(self):
        self._folder.mkdir(exist_ok=True)
        store = f"sqlite:///{self._folder / 'mlflow.db'}"
        command = [MLFLOW, "server", "--backend-store-uri", store, "--port", str(self.port)]
        command += ["--artifacts-destination", str(self._folder / "files"), "--workers", "1"]
        environ = {n: v for n, v in os.environ.items() if n != "PYTHONPATH"}
        environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
        with (self._folder / "log.txt").open("a") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env=environ, start_new_session=True
            )
        for _ in range(3000):
            try:
                urllib.request.urlopen(self.url + "/health", timeout=5).close()
                return
            except OSError:
                time.sleep(0.1)
        raise AssertionError("the server did not start")

    def stop(self):
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(30)
            self._process = None

    def runs(self, experiment="toy"):
        """Return the active runs of an experiment."""
        path = f"experiments/get-by-name?experiment_name={experiment}"
        home = self._ask("GET", path)["experiment"]["experiment_id"]
        wanted = {"experiment_ids": [home], "max_results": 1000}
        return self._ask("POST", "runs/search", wanted).get("runs", [])

    def trials(self, experiment="toy"):
        """Return the tracked trials by name; fails where one is there twice."""
        found = {}
        for run in self.runs(experiment):
            tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
            if name := tags["hpo-pipeline.trial"]:
                assert name not in found, f"{name} is there twice"
                found[name] = run | {"tags": tags}
        return found

    def history(self, run, metric):
        path = f"metrics/get-history?run_id={run['info']['run_id']}&metric_key={metric}"
        points = self._ask("GET", path).get("metrics", [])
        return [(int(p["step"]), p["value"]) for p in points]

    def _ask(self, method, path, content=None):
        body = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(f"{self.url}/api/2.0/mlflow/{path}", body, method=method)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())


@pytest.fixture
def server(tmp_path, monkeypatch):
    found = Server(tmp_path / "server")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", found.url)
    found.start()
    yield found
    found.stop()


@pytest.fixture
def file(write_experiment):
    return write_experiment(
        training="{num_train_epochs: 4, per_device_train_batch_size: 4}",
        budget=f"{{trials: {TRIALS}, parallel: 2}}",
        track="[mlflow]",
    )


def start(file, folder, log):
    command = [sys.executable, "-m", "hpo_pipeline", "run", str(file), "--run", str(folder)]
    return subprocess.Popen(command, stdout=log, stderr=log)


def check(server, folder):
    """Compare what is tracked with what the run folder has."""
    trials, shown = RunFolder(folder).finished_trials(), server.trials()
    assert sorted(shown) == sorted(trial.name for trial in trials)
    for trial in trials:
        run = shown[trial.name]
        assert run["tags"]["hpo-pipeline.state"] == trial.state.value
        curve = [(p.training_step, p.metrics["accuracy"]) for p in trial.curve]
        assert server.history(run, "curve/accuracy") == curve
        metrics = {m["key"]: m["value"] for m in run["data"]["metrics"]}
        assert metrics["accuracy"] == pytest.approx(trial.metrics["accuracy"])
    winners = [n for n, r in shown.items() if r["tags"].get("hpo-pipeline.winner") == "true"]
    assert winners == [RunFolder(folder).state().winner.name]
    (group,) = [r for r in server.runs() if r["info"]["run_name"] not in shown]
    assert group["info"]["status"] == "FINISHED"


def test_kills_double_no_trial(server, file, tmp_path):
    rng, folder, log = random.Random(0), tmp_path / "run", (tmp_path / "log.txt").open("a")
    with log:
        for _ in range(KILLS):
            process = start(file, folder, log)
            time.sleep(rng.uniform(2, 8))
            process.kill()
            process.wait()
        done = start(file, folder, log).wait(600)
    assert done == 0, (tmp_path / "log.txt").read_text()[-2000:]
    assert left(RunFolder(folder).tracking, "mlflow") == 0
    check(server, folder)


def test_a_server_that_was_down_gets_everything_later(server, file, tmp_path, capsys):
    server.stop()
    folder = tmp_path / "run"
    assert main(["run", str(file), "--run", str(folder), "--plain"]) == 0
    out = capsys.readouterr().out
    assert f"mlflow: {server.url} does not answer; it is tried again later" in out
    assert f"entries wait to be sent: `hpo track {folder}`" in out
    assert main(["track", str(folder)]) == 1
    server.start()
    assert main(["track", str(folder)]) == 0
    assert "everything is sent" in capsys.readouterr().out
    check(server, folder)
