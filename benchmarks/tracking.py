"""What tracking costs a run: CPU time by process, and wall time against the same run without.

    python benchmarks/tracking.py cpu FOLDER [TRACKER]      with MLFLOW_TRACKING_URI for mlflow
    python benchmarks/tracking.py wall FILE --mlflow /tmp/mlflow/bin/mlflow [--trials 6] [--pairs 6]

`cpu` plays a search of 200 trials with ten evaluations each to the progress, and then sends it.
`wall` starts a real MLflow server on loopback (`pip install mlflow` into an environment of its own)
and runs an experiment with and without `track: [mlflow]`, one trial at a time. The two of a pair
run at the same time, each on a core of its own, and the next pair swaps the cores: the speed of a
machine that others share changes by more than what is looked for. The tracker shares the core of
its run, and the server works beside both. One run before them prepares the data. Wall time is that
of the whole command, the wait for the tracker at its end included, which is told apart.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.cores import cores_of
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.reports.terminal.silence import Silence
from hpo_pipeline.results.run_folder import RunFolder
from hpo_pipeline.results.trial import Trial, TrialState
from hpo_pipeline.trackers.queue import Queue
from hpo_pipeline.trackers.sender_process import SenderProcess
from hpo_pipeline.trackers.tracked_progress import TrackedProgress
from tests.toys import toy_curve, toy_experiment, toy_trial

TRIALS, POINTS = 200, 10
START_SECONDS = 300


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    ways = parser.add_subparsers(required=True, dest="way")
    cpu = ways.add_parser("cpu")
    cpu.add_argument("folder", type=Path)
    cpu.add_argument("tracker", nargs="?", default="tensorboard")
    wall = ways.add_parser("wall")
    wall.add_argument("file", type=Path)
    wall.add_argument("--mlflow", type=Path, required=True, help="the command, with a server")
    wall.add_argument("--trials", type=int, default=6)
    wall.add_argument("--pairs", type=int, default=6)
    options = parser.parse_args()
    if options.way == "cpu":
        _cpu(options.folder, options.tracker)
    else:
        print(json.dumps(_wall(options), indent=2))
    return 0


def _cpu(place: Path, name: str) -> None:
    folder = RunFolder(place)
    with folder.locked():
        folder.adopt(toy_experiment())
        folder.run_id()
    progress = TrackedProgress(Silence(), Queue(folder.tracking))
    done: list[Trial] = []
    spent = time.process_time()
    for number in range(TRIALS):
        values = [0.5 + point / 100 for point in range(POINTS)]
        trial = toy_trial(number, curve=toy_curve(*values), accuracy=values[-1])
        for point in range(POINTS + 1):
            curve = trial.curve[:point]
            now = dataclasses.replace(trial, state=TrialState.RUNNING, curve=curve, metrics={})
            progress.update([*done, now], seconds=1.0)
        done.append(trial)
        progress.update(done, seconds=1.0)
    spent = time.process_time() - spent
    print(f"in the run's own process: {spent / TRIALS * 1000:.2f} ms of CPU time a trial")
    begun = time.monotonic()
    sender = SenderProcess(folder.path, folder.tracking, name, print)
    sender.close(patience=600)
    wall = time.monotonic() - begun
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime
    print(f"{name}, {TRIALS} trials: {cpu:.1f} s of CPU time, {wall:.1f} s; peak {peak(used)} MiB")
    print(f"load {os.getloadavg()[0]:.1f}")


def peak(used: resource.struct_rusage) -> int:
    """Return the most memory of a child in MiB."""
    return used.ru_maxrss // 1024


def _wall(options: argparse.Namespace) -> dict[str, object]:
    times: dict[str, list[float]] = {"without": [], "tracked": []}
    ends: dict[str, list[float]] = {"without": [], "tracked": []}
    with tempfile.TemporaryDirectory() as scratch, _server(options.mlflow, Path(scratch)) as url:
        place = Path(scratch)
        environment = {**os.environ, "MLFLOW_TRACKING_URI": url, "OMP_NUM_THREADS": "1"}
        files = {way: _written(options, place, way) for way in times}
        _run(files["without"], place / "first", environment, cores_of(0)[0])
        for pair in range(options.pairs):
            cores = cores_of(pair)
            with ThreadPoolExecutor(2) as both:
                running = {
                    way: both.submit(_run, files[way], place / f"{way}-{pair}", environment, core)
                    for way, core in zip(times, cores, strict=True)
                }
            for way, run in running.items():
                seconds, ended = run.result()
                times[way].append(seconds)
                ends[way].append(ended - _last_written(RunFolder(place / f"{way}-{pair}")))
            print({way: round(found[-1], 2) for way, found in times.items()}, file=sys.stderr)
        tracked = _tracked_runs(url, load(options.file).name)
    ratios = [b / a for a, b in zip(times["without"], times["tracked"], strict=True)]
    spread = statistics.stdev(ratios) / len(ratios) ** 0.5 if len(ratios) > 1 else None
    return {
        "ratio of wall time, mean": statistics.mean(ratios),
        "its standard error": spread,
        "ratios": ratios,
        "seconds": times,
        "seconds after the run wrote its last file": ends,
        "runs in MLflow, trials and groups": tracked,
    }


def _written(options: argparse.Namespace, place: Path, way: str) -> Path:
    """Write the experiment with or without its tracker, and with absolute paths."""
    experiment = load(options.file)
    budget = experiment.budget.model_copy(update={"trials": options.trials, "parallel": 1})
    track = ("mlflow",) if way == "tracked" else ()
    found = place / f"{way}.json"
    made = experiment.model_copy(update={"track": track, "budget": budget})
    found.write_text(made.to_json(), "utf-8")
    return found


def _run(file: Path, folder: Path, environment: dict[str, str], core: int) -> tuple[float, float]:
    """Run an experiment on one core; return how long it took, and when it ended."""
    command = [sys.executable, "-m", "hpo_pipeline", "run", str(file), "--run", str(folder)]
    command += ["--plain", "--registry", str(folder.with_suffix(".models"))]
    begun = time.monotonic()
    done = subprocess.run(
        ["taskset", "--cpu-list", str(core), *command],
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise SystemExit(f"{file.name}: the run failed\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.monotonic() - begun, time.time()


def _last_written(folder: RunFolder) -> float:
    """Return when a run wrote its last file, apart from what is for its tracker."""
    files = (path for path in folder.path.rglob("*") if path.is_file())
    own = (path for path in files if not path.is_relative_to(folder.tracking))
    return max(path.stat().st_mtime for path in own)


@contextmanager
def _server(mlflow: Path, place: Path) -> Iterator[str]:
    """Serve MLflow on loopback, from a database in a folder."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [str(mlflow), "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{place / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(place / "artifacts")]
    environment = {n: v for n, v in os.environ.items() if n != "PYTHONPATH"}
    environment["MLFLOW_DISABLE_TELEMETRY"] = "true"
    log = (place / "server.log").open("w")
    process = subprocess.Popen(
        command, stdout=log, stderr=log, env=environment, start_new_session=True
    )
    try:
        _wait_until_up(url)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        log.close()


def _wait_until_up(url: str) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(url + "/health", timeout=5).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise SystemExit("the MLflow server did not start")


def _tracked_runs(url: str, name: str) -> int:
    """Return how many runs MLflow has, so that a tracker that sent nothing is seen."""
    api = f"{url}/api/2.0/mlflow"
    address = f"{api}/experiments/get-by-name?experiment_name={name}"
    with urllib.request.urlopen(address, timeout=30) as answer:
        home = json.loads(answer.read())["experiment"]["experiment_id"]
    body = json.dumps({"experiment_ids": [home], "max_results": 1000}).encode()
    request = urllib.request.Request(f"{api}/runs/search", body)
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return len(json.loads(answer.read()).get("runs", []))


if __name__ == "__main__":
    sys.exit(main())
