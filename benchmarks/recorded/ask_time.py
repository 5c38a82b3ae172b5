"""How long `Study.ask` takes once many trials are finished, in a journal as the engine keeps it.

Medians of the processor time of some asks, each told before the next, with that of telling beside
it. Memory is what Python holds for the open study (tracemalloc), the journal's replay included.

    python benchmarks/recorded/ask_time.py [--trials 1000 10000] [--only tpe] [--profile]

Targets, of the issue: random, grid and genetic within 20 ms and tpe within 50 ms at 1 000 trials,
at 10 000 no more than 12 times that; gp within 1.5 s at 200.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.trial import Point, Trial
from hpo_pipeline.results.trial import TrialState as State
from hpo_pipeline.search.distributions import distributions
from hpo_pipeline.search.journal import open_journal
from hpo_pipeline.search.study import Study, Suggestion

SPACE: dict[str, dict[str, Any]] = {
    "learning_rate": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
    "weight_decay": {"type": "float", "low": 0.0, "high": 0.3},
    "label_smoothing_factor": {"type": "float", "low": 0.0, "high": 0.3},
    "per_device_train_batch_size": {"type": "choice", "values": [8, 16, 32, 64]},
    "model.num_hidden_layers": {"type": "int", "low": 1, "high": 6},
    "model.hidden_dropout_prob": {"type": "float", "low": 0.0, "high": 0.5},
}
STEPS = {
    "learning_rate": {"type": "float", "low": 0.001, "high": 0.01, "step": 0.001},
    "weight_decay": {"type": "float", "low": 0.0, "high": 0.3, "step": 0.1},
    "label_smoothing_factor": {"type": "float", "low": 0.0, "high": 0.3, "step": 0.1},
    "model.hidden_dropout_prob": {"type": "float", "low": 0.0, "high": 0.5, "step": 0.1},
}
"""What replaces the continuous ranges for grid: 23 040 points."""
EVALUATIONS = 16
POPULATION = 10  # the default of the genetic algorithms
CASES = [
    *((name, size) for name in ("random", "grid", "genetic", "tpe") for size in (1_000, 10_000)),
    ("gp", 200),
]


def experiment(algorithm: str, trials: int) -> Experiment:
    """Return an experiment of six parameters for an algorithm."""
    return Experiment.model_validate(
        {
            "name": "ask",
            "task": {"kind": "image-classification", "model": "vit", "data": "digits"},
            "objective": {"metric": "accuracy", "goal": "maximize"},
            "space": {**SPACE, **STEPS} if algorithm == "grid" else SPACE,
            "search": {"algorithm": algorithm},
            "budget": {"trials": trials + 100},
        }
    )


def quality(values: dict[str, Any]) -> float:
    """Return an accuracy that depends on two of the parameters."""
    off = abs(np.log10(values["learning_rate"]) + 3) / 4
    return float(0.9 - 0.5 * off - 0.1 * values["weight_decay"])


def fill(made: Experiment, storage: BaseStorage, trials: int) -> None:
    """Leave finished trials in a storage, with their curves, as a search would have."""
    study = optuna.create_study(study_name=made.name, storage=storage, direction="maximize")
    study.add_trials(list(_finished(made, trials)))
    if made.search.algorithm == "genetic":
        # What NSGA-II keeps for itself: the parents of each generation, here the best before it.
        best: list[FrozenTrial] = []
        found = study.get_trials(deepcopy=False)
        for start in range(POPULATION, trials + 1, POPULATION):
            fresh = found[start - POPULATION : start]
            best = sorted([*best, *fresh], key=lambda t: -(t.value or 0))[:POPULATION]
            key = f"NSGAIISampler:parent:{start // POPULATION}"
            storage.set_study_system_attr(study._study_id, key, [t._trial_id for t in best])


def _finished(made: Experiment, trials: int) -> Iterator[FrozenTrial]:
    given = distributions(made.space)
    rng = np.random.RandomState(0)
    sizes = {n: made.space[n].count() for n in made.space}
    grids = {n: [made.space[n].point(i) for i in range(c)] for n, c in sizes.items() if c}
    for number in range(trials):
        values = {n: grid[rng.randint(len(grid))] for n, grid in grids.items()}
        for name in (n for n in made.space if n not in values):
            p = made.space[name]
            ends = np.log([p.low, p.high]) if p.log else np.array([p.low, p.high])
            drawn = rng.uniform(*ends)
            values[name] = float(np.clip(np.exp(drawn) if p.log else drawn, p.low, p.high))
        end = quality(values)
        yield create_trial(
            state=TrialState.COMPLETE,
            params={name: values[name] for name in given},
            distributions=given,
            value=end,
            user_attrs={"name": f"ask-{number:04d}", "metrics": {"accuracy": end}},
            system_attrs={"NSGAIISampler:generation": number // POPULATION},
            intermediate_values={s: end * (1 - 0.7**s) for s in range(1, EVALUATIONS + 1)},
        )


def finish(study: Study, suggestion: Suggestion) -> None:
    """Tell a study the end of a trial."""
    end = quality(suggestion.assignments)
    point = Point(1, 30, 1.0, {"accuracy": end})
    name = study.name(suggestion.number)
    assignments, metrics = suggestion.assignments, {"accuracy": end}
    study.tell(
        Trial(name, suggestion.number, State.SUCCEEDED, assignments, metrics, curve=(point,))
    )


def measure(algorithm: str, trials: int, asks: int) -> tuple[float, float, float]:
    """Return the median milliseconds of ask and of tell, and the MiB of the open study."""
    made = experiment(algorithm, trials)
    with tempfile.TemporaryDirectory() as folder:
        fill(made, open_journal(Path(folder) / "journal.log"), trials)
        tracemalloc.start()
        study = Study(made.problem, open_journal(Path(folder) / "journal.log"))
        finish(study, study.ask())
        memory = tracemalloc.get_traced_memory()[0] / 2**20
        tracemalloc.stop()
        asked, told = [], []
        for _ in range(asks):
            start = time.process_time()
            suggestion = study.ask()
            middle = time.process_time()
            finish(study, suggestion)
            asked.append(middle - start)
            told.append(time.process_time() - middle)
    return statistics.median(asked) * 1000, statistics.median(told) * 1000, memory


def profile(algorithm: str, trials: int, asks: int) -> None:
    """Print where the time of some asks goes."""
    made = experiment(algorithm, trials)
    with tempfile.TemporaryDirectory() as folder:
        fill(made, open_journal(Path(folder) / "journal.log"), trials)
        study = Study(made.problem, open_journal(Path(folder) / "journal.log"))
        finish(study, study.ask())
        with cProfile.Profile() as taken:
            for _ in range(asks):
                finish(study, study.ask())
    pstats.Stats(taken).sort_stats("cumulative").print_stats(45)


def main() -> None:
    """Print one line a case."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="+", help="algorithms")
    parser.add_argument("--trials", type=int, nargs="+", help="finished trials")
    parser.add_argument("--asks", type=int, default=15)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    if not options.profile:
        print("algorithm  trials    ask ms   tell ms  memory MiB")
    for algorithm, trials in CASES:
        is_wanted = algorithm in (options.only or [algorithm])
        if not is_wanted or trials not in (options.trials or [trials]):
            continue
        if options.profile:
            profile(algorithm, trials, options.asks)
            continue
        asked, told, memory = measure(algorithm, trials, options.asks)
        print(f"{algorithm:9} {trials:7} {asked:9.1f} {told:9.1f} {memory:11.1f}", flush=True)
    if not options.profile:
        print(f"{os.cpu_count()} cores")


if __name__ == "__main__":
    main()
