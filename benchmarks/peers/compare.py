"""Twelve fixed trials of experiments/tweets.yaml through Ray Tune, transformers and `hpo run`.

The same configurations, rows, seed, epochs and evaluations (one an epoch); everything else is what
each does by default: `hpo run` also saves every model and measures its latency, size and memory,
and Ray Tune and `hpo run` give each of two trials at a time one core, where
Trainer.hyperparameter_search (its Optuna backend) has both for one trial. No one stops early. The
time is that of the whole process, imports included; of ours, up to the last trial's result.

    pip install -e '.[peers]'
    python -m benchmarks.peers.compare [--rounds 3] [--precision fp32 bf16] [--peers fp32]
        [--only WHO …] [--first-seed 0]

Each round goes through all of them, ours in each precision and the peers in theirs, with a seed of
its own. Ratios are of the medians, and those of each round are printed too. Processor time is that
of all processes of a peer.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.fixed_trials import EXPERIMENT, configurations, experiment_file, last_result
from benchmarks.peers.training import Work

OURS = "hpo run"
PEERS = {"Ray Tune": "ray_tune", "Trainer.hyperparameter_search": "trainer_search"}
ROOT = Path(__file__).parent.parent.parent


def main() -> None:
    """Run all in turn and print trials a minute and ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    for name in ("precision", "peers"):
        parser.add_argument(f"--{name}", nargs="+", default=["fp32"], choices=["fp32", "bf16"])
    parser.add_argument("--only", nargs="+", choices=[OURS, *PEERS])
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:  # in the process of a peer
        content = json.loads(options.work)
        work = Work(Path(content.pop("dataset")), Path(content.pop("source")), **content)
        (who,) = options.only
        peer = importlib.import_module(f"benchmarks.peers.{PEERS[who]}")
        print(json.dumps(peer.run(work)))
        return
    from hpo_pipeline.data.assets import fetch
    from hpo_pipeline.data.prepare import prepare
    from hpo_pipeline.experiment.loading import load

    chosen = configurations(options.trials)
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        work = {
            "dataset": str(prepare(load(EXPERIMENT), folder)),
            "source": str(fetch("minilm")),
            "configurations": chosen,
        }
        who_runs = options.only or [OURS, *PEERS]
        ways = [
            (who, precision)
            for who in who_runs
            for precision in (options.precision if who == OURS else options.peers)
        ]
        seeds = range(options.first_seed, options.first_seed + options.rounds)
        for seed, (who, precision) in itertools.product(seeds, ways):
            if who == OURS:
                one = ours(folder / f"{precision}-{seed}", chosen, precision, seed)
            else:
                one = peer_run(who, {**work, "precision": precision, "seed": seed})
            way = f"{who} {precision}"
            found[way].append(one)
            rate = options.trials / one["wall"] * 60
            print(
                f"round {seed}  {way:35} {one['wall']:7.1f} s  cpu {one['cpu']:7.1f} s  "
                f"{rate:5.2f} trials a minute  best accuracy {max(one['accuracy']):.4f}",
                flush=True,
            )
    summary(found)


def summary(found: dict[str, list[dict[str, Any]]]) -> None:
    """Print the ratios of each peer to ours, and the best accuracy of each over the rounds."""
    ours = [way for way in found if way.startswith(OURS)]
    peers = [way for way in found if not way.startswith(OURS)]
    for who, mine, what in itertools.product(peers, ours, ("wall", "cpu")):
        pairs = zip(found[who], found[mine], strict=True)
        ratios = ", ".join(f"{peer[what] / own[what]:.2f}" for peer, own in pairs)
        peer, own = (statistics.median(one[what] for one in found[w]) for w in (who, mine))
        print(f"{who}: {peer / own:.2f} x the {what} time of {mine} ({ratios} by round)")
    for way, rounds in found.items():
        best = [max(one["accuracy"]) for one in rounds]
        error = statistics.stdev(best) / len(best) ** 0.5 if len(best) > 1 else float("nan")
        print(f"{way}: best accuracy {statistics.mean(best):.4f} ± {error:.4f}")


def peer_run(who: str, work: dict[str, Any]) -> dict[str, Any]:
    """Run the trials of a peer in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.peers.compare", "--only", who]
    output, cost = timed([*command, "--work", json.dumps(work)])
    return {"accuracy": json.loads(output.strip().splitlines()[-1]), **cost}


def ours(
    folder: Path, chosen: list[dict[str, float | int]], precision: str, seed: int
) -> dict[str, Any]:
    """Run the trials with `hpo run`."""
    folder.mkdir()
    file = experiment_file(folder, chosen, seed=seed, precision=precision)
    start = time.time()
    run = folder / "run"
    _, cost = timed([sys.executable, "-m", "hpo_pipeline", "run", str(file), "--run", str(run)])
    results = [json.loads(file.read_text()) for file in sorted(run.glob("trials/*/result.json"))]
    assert len(results) == len(chosen)
    accuracy = [result["curve"][-1]["metrics"]["accuracy"] for result in results]
    return {"accuracy": accuracy, "cpu": cost["cpu"], "wall": last_result(run) - start}


def timed(command: list[str]) -> tuple[str, dict[str, float]]:
    """Run a command and return its output, wall time, and processor time of its processes.

    Those of Ray are no children of the command, so all that carry a mark of ours in their
    environment are looked at, twice a second; what one does after the last look is not counted.
    """
    mark = f"{os.getpid()}-{time.monotonic_ns()}"
    environment = {**os.environ, "PEERS_MARK": mark, "PYTHONPATH": str(ROOT)}
    seconds: dict[str, float] = {}
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.5):
            seconds.update(_processor_times(mark))

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    try:
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
        wall = time.perf_counter() - start
    finally:
        ended.set()
        watcher.join()
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return done.stdout, {"wall": wall, "cpu": sum(seconds.values())}


def _processor_times(mark: str) -> dict[str, float]:
    """Return the processor time of each process that carries a mark, by its number and start."""
    found, tick = {}, os.sysconf("SC_CLK_TCK")
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"PEERS_MARK={mark}".encode() not in (folder / "environ").read_bytes():
                continue
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        found[f"{folder.name}-{fields[19]}"] = (int(fields[11]) + int(fields[12])) / tick
    return found


if __name__ == "__main__":
    main()
