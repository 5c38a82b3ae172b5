"""The same configurations and seeds in several ways: how well they learn, and what they cost.

Each configuration is trained once in every way before the next one's turn, on one thread, in this
process, so that what else the machine does falls on all ways alike. Prints, against the first way,

    cpu, wall   ratio of the sums of processor and wall time of training and evaluations
    points      mean difference of the metric in points, with its standard error over the pairs
    tau         Kendall's tau-b of the ranking of the configurations, mean over the seeds

    python -m benchmarks.side_by_side experiments/tweets.yaml --way fp32:precision=fp32
        --way bf16:precision=bf16 [--trials 12] [--fixed] [--seeds 0 1 2] [--csv FILE]

A way is a name and fields of `task`; `training.FIELD` are fields of its training arguments.
`--from FILE …` prints the table of files that `--csv` wrote.
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml

from benchmarks import fixed_trials

FIELDS = ("way", "seed", "number", "value", "cpu", "wall")
Result = dict[str, Any]


def main() -> None:
    """Train all configurations in all ways and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("experiment", type=Path)
    parser.add_argument("--way", action="append", default=[], metavar="NAME:FIELD=VALUE,…")
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--fixed", action="store_true", help="the configurations of the peers")
    parser.add_argument("--only", type=int, nargs="+", metavar="NUMBER", help="of these trials")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--from", type=Path, nargs="+", default=[], dest="files")
    options = parser.parse_args()
    found: list[Result] = []
    for file in options.files:
        with file.open() as stream:
            found += [{**row, "value": float(row["value"]), "cpu": float(row["cpu"]),
                       "wall": float(row["wall"])} for row in csv.DictReader(stream)]  # fmt: skip
    if not found:
        found = trained(options)
    table(found)


def trained(options: argparse.Namespace) -> list[Result]:
    """Train every configuration in every way."""
    import torch

    from hpo_pipeline.data.prepare import prepare
    from hpo_pipeline.experiment.loading import load

    torch.set_num_threads(options.threads)
    experiment = load(options.experiment)
    ways = dict(way.split(":", 1) for way in options.way)
    if options.fixed:
        chosen = fixed_trials.configurations(options.trials)
    else:
        chosen = configurations(experiment, options.trials)
    found: list[Result] = []
    with tempfile.TemporaryDirectory() as name:
        dataset = prepare(experiment, Path(name))
        for seed in options.seeds:
            for number in options.only or range(options.trials):
                assignments = chosen[number]
                for way, text in ways.items():
                    task = changed(experiment.task, text).assigned(assignments)
                    one = train(experiment, task, dataset, Path(name) / "out", seed)
                    found.append({"way": way, "seed": seed, "number": number, **one})
                    print(*found[-1].values(), assignments, flush=True)
                    if options.csv is not None:
                        write(options.csv, found)
    return found


def write(file: Path, found: list[Result]) -> None:
    """Write all results so far."""
    with file.open("w") as stream:
        writer = csv.DictWriter(stream, FIELDS)
        writer.writeheader()
        writer.writerows(found)


def configurations(experiment: Any, count: int) -> list[dict[str, Any]]:
    """Return configurations drawn at random from the space of the experiment."""
    import optuna

    from hpo_pipeline.search.distributions import distributions

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [study.ask(distributions(experiment.space)).params for _ in range(count)]


def changed(task: Any, text: str) -> Any:
    """Return a task with the fields of a way."""
    fields = dict(part.split("=", 1) for part in text.split(",") if part)
    values = {name: yaml.safe_load(value) for name, value in fields.items()}
    prefix = "training."
    own = {n.removeprefix(prefix): v for n, v in values.items() if n.startswith(prefix)}
    plain = {n: v for n, v in values.items() if not n.startswith(prefix)}
    return task.model_copy(update={**plain, "training": {**task.training, **own}})


def train(experiment: Any, task: Any, dataset: Path, output: Path, seed: int) -> Result:
    """Train a configuration and return its best metric, as a trial has it, and its cost."""
    from hpo_pipeline.trial.training.building import build

    objective = experiment.objective[0]
    sign = 1 if objective.goal == "maximize" else -1
    trainer = build(task, dataset, output, seed).trainer
    cpu, wall = time.process_time(), time.perf_counter()
    trainer.train()
    cost = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    key = f"eval_{objective.metric}"
    values = [entry[key] for entry in trainer.state.log_history if key in entry]
    return {"value": sign * max(sign * value for value in values), **cost}


def table(found: list[Result]) -> None:
    """Print each way against the first."""
    from scipy.stats import kendalltau

    ways: dict[str, dict[tuple[str, str], Result]] = defaultdict(dict)
    for result in found:
        ways[result["way"]][str(result["seed"]), str(result["number"])] = result
    first = next(iter(ways.values()))
    for way, results in ways.items():
        pairs = [(first[key], result) for key, result in results.items() if key in first]
        cpu, wall = (sum(b[c] for _, b in pairs) / sum(a[c] for a, _ in pairs)
                     for c in ("cpu", "wall"))  # fmt: skip
        points = [100 * (b["value"] - a["value"]) for a, b in pairs]
        error = statistics.stdev(points) / math.sqrt(len(points)) if len(points) > 1 else math.nan
        taus = []
        for seed in {str(a["seed"]) for a, _ in pairs}:
            of = [(a["value"], b["value"]) for a, b in pairs if str(a["seed"]) == seed]
            taus.append(kendalltau(*zip(*of, strict=True)).statistic)
        value = statistics.mean(b["value"] for _, b in pairs)
        print(
            f"{way:12} {len(pairs):3} pairs  value {value:.4f}  cpu {cpu:.3f}  wall {wall:.3f}  "
            f"points {statistics.mean(points):+.2f} ± {error:.2f}  "
            f"tau {statistics.mean(taus):.3f} {[round(t, 2) for t in taus]}"
        )


if __name__ == "__main__":
    main()
