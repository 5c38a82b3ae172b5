"""Population based training against random search at equal training steps, on digits.

    pbt      experiments/digits-pbt.yaml as it is
    random   the same file with random search, whose trials train all the epochs: as many steps
             in all, and the very same first configurations, for the first generation is random;
             only exploiting and exploring differ

Each with a constant rate, as in the file, and with the linear schedule that transformers has by
default. The winner is chosen on the validation rows and evaluated on the test rows.

On two cores, five seeds, 4640 steps a run, mean accuracy (validation, test):

    constant  random 0.9456 0.9426   pbt 0.9516 0.9461   (pbt better on 4 of 5, on validation)
    linear    random 0.9524 0.9390   pbt 0.9516 0.9482   (better on 2, worse on 1, two ties)

Where the schedule is good by itself, exploring brings no gain that these rows could show.

    python benchmarks/pbt.py [--seeds 0 1 2]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

from hpo_pipeline.results.run_folder import RunFolder

EXPERIMENT = Path(__file__).parent.parent / "experiments" / "digits-pbt.yaml"


@dataclass(frozen=True)
class Outcome:
    """What one run found: accuracy of its winner, steps trained in all, wall seconds."""

    validation: float
    test: float
    steps: int
    seconds: float


def run(folder: Path, algorithm: str, schedule: str, seed: int) -> Outcome:
    """Run the experiment with one search algorithm and one schedule of the learning rate."""
    experiment = yaml.safe_load(EXPERIMENT.read_text())
    population = experiment["search"]["settings"]["population"]
    del experiment["register"]
    experiment["task"]["training"]["lr_scheduler_type"] = schedule
    experiment["search"]["seed"] = seed
    if algorithm == "random":
        experiment["search"] = {"algorithm": "random", "seed": seed}
        experiment["budget"]["trials"] = population
    file = folder / f"{algorithm}-{schedule}-{seed}.yaml"
    file.write_text(yaml.safe_dump(experiment))
    command = [sys.executable, "-m", "hpo_pipeline", "run", str(file), "--run"]
    start = time.perf_counter()
    subprocess.run([*command, str(folder / file.stem)], check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    result = RunFolder(folder / file.stem).result()
    assert result.winner is not None
    ends = {trial.number: trial.training_steps for trial in result.trials}
    starts = [0 if t.parent is None else ends[t.parent] for t in result.trials]
    return Outcome(
        result.winner.metrics["accuracy"],
        result.winner.test["accuracy"],
        sum(ends.values()) - sum(starts),
        seconds,
    )


def main() -> None:
    """Print one line a run, then the means."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    print("schedule  algorithm  seed  validation    test   steps  seconds")
    for schedule in ("constant", "linear"):
        found: dict[str, list[Outcome]] = {"random": [], "pbt": []}
        for seed in options.seeds:
            for algorithm, outcomes in found.items():
                with tempfile.TemporaryDirectory() as folder:
                    outcomes.append(run(Path(folder), algorithm, schedule, seed))
                print(f"{schedule:9} {algorithm:9} {seed:5} {_columns(outcomes[-1])}", flush=True)
        for algorithm, outcomes in found.items():
            print(f"{schedule:9} {algorithm:9}  mean {_columns(_mean(outcomes))}")
        pairs = list(zip(found["random"], found["pbt"], strict=True))
        better = sum(pbt.validation > random.validation for random, pbt in pairs)
        print(f"pbt is better on {better} of {len(pairs)} seeds")
    print(f"{os.cpu_count()} cores")


def _mean(outcomes: list[Outcome]) -> Outcome:
    return Outcome(
        statistics.mean(o.validation for o in outcomes),
        statistics.mean(o.test for o in outcomes),
        sum(o.steps for o in outcomes) // len(outcomes),
        statistics.mean(o.seconds for o in outcomes),
    )


def _columns(one: Outcome) -> str:
    return f"{one.validation:11.4f} {one.test:7.4f} {one.steps:7} {one.seconds:8.1f}"


if __name__ == "__main__":
    main()
