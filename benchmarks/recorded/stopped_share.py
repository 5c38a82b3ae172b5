"""How much of the training each stopping rule leaves, on the recorded studies, 4 trials at a time.

    python benchmarks/recorded/stopped_share.py [--seeds 4]

Prints the training steps of all trials as a share of those of the same search without stopping, and
what `hpo estimate` expects (`share_left` of the rules).
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

from compare import PARALLEL, Job, Strategy, play
from table import STUDIES, Recorded

from hpo_pipeline.experiment.stopping import PlannedSearch

RULES: dict[str, dict[str, Any]] = {
    "none": {"algorithm": "none"},
    "median": {"algorithm": "median"},
    "median, from step 2, 4 trials": {"algorithm": "median", "min_trials": 4, "start_step": 2},
    "percentile 25": {"algorithm": "percentile", "percentile": 25.0},
    "asha": {"algorithm": "asha"},
    "hyperband": {"algorithm": "hyperband"},
    "forecast": {"algorithm": "forecast"},
    "patience": {"algorithm": "patience"},
}
SEARCHES: dict[str, dict[str, Any]] = {"random": {}, "tpe": {"startup_trials": 7}}
TRIALS = (12, 24, 60)


def main() -> None:
    """Print a table for each study, number of trials and search."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=4)
    seeds = range(parser.parse_args().seeds)
    for study, source in STUDIES.items():
        for trials in TRIALS:
            of_search = {
                name: [steps(study, name, rule, trials, seeds) for rule in RULES.values()]
                for name in SEARCHES
            }
            for i, (title, rule) in enumerate(RULES.items()):
                shares = ", ".join(
                    f"{n} {found[i] / found[0]:.2f}" for n, found in of_search.items()
                )
                stopping = Recorded(study).experiment({"algorithm": "random"}, rule, ()).stopping
                left = stopping.share_left(PlannedSearch(source.epochs, trials, PARALLEL))
                print(
                    f"{study}, {trials} trials, {title}: {shares}; expected {left:.2f}", flush=True
                )


def steps(study: str, search: str, rule: dict[str, Any], trials: int, seeds: range) -> float:
    """Return the training steps of a search under a rule, on the mean of the seeds."""
    strategy = Strategy(search, search, rule, SEARCHES[search])
    return statistics.mean(
        play(Job(study, strategy, seed, trials, False)).steps[-1] for seed in seeds
    )


if __name__ == "__main__":
    main()
