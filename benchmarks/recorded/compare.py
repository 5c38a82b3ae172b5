"""Every search algorithm and stopping rule on the recorded trials: regret and steps.

Regret is the highest recorded accuracy less the best that the search has seen, in points (one
hundredth), averaged over seeds; steps are training steps, of all trials, as a share of those of
random search without stopping.

    python benchmarks/recorded/compare.py [--seeds 30] [--trials 60] [--only "tpe gp"]
    python benchmarks/recorded/compare.py --plain --rules "model.hidden_size >= 24"
    python benchmarks/recorded/compare.py --write     the table and the plot of benchmarks/README.md

The algorithms are the very ones that the engines use; only training is replaced by the table.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import statistics
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch: a process a core

import optuna
import table

README = Path(__file__).parent.parent / "README.md"
PLOT = Path(__file__).parent / "regret.svg"
TARGET_TRIALS = 40
"""How quickly others reach what random search has after this many trials."""
PARALLEL = 4


@dataclass(frozen=True)
class Strategy:
    """A search algorithm with a stopping rule."""

    name: str
    search: str
    stopping: dict[str, Any] = field(default_factory=lambda: {"algorithm": "none"})
    settings: dict[str, Any] = field(default_factory=dict)


ASHA = {"algorithm": "asha", "grace_period": 1, "reduction_factor": 3}
HYPERBAND = {"algorithm": "hyperband", "grace_period": 1, "reduction_factor": 3, "max_resource": 12}
MEDIAN = {"algorithm": "median", "min_trials": 3, "start_step": 2}
STRATEGIES = [
    Strategy("random", "random"),
    Strategy("random + median", "random", MEDIAN),
    Strategy(
        "random + percentile 25", "random", {**MEDIAN, "algorithm": "percentile", "percentile": 25}
    ),
    Strategy("random + asha", "random", ASHA),
    Strategy("random + hyperband", "random", HYPERBAND),
    Strategy("random + patience", "random", {"algorithm": "patience", "patience": 3}),
    Strategy("qmc", "qmc"),
    Strategy("tpe", "tpe"),
    Strategy("tpe + median", "tpe", MEDIAN),
    Strategy("tpe + asha", "tpe", ASHA),
    Strategy("tpe + hyperband (BOHB)", "tpe", HYPERBAND),
    Strategy("gp", "gp"),
    Strategy("gp fitted on 30", "gp", settings={"max_fitted": 30}),
    Strategy("gp + median", "gp", MEDIAN),
    Strategy("genetic", "genetic"),
    Strategy("genetic + median", "genetic", MEDIAN),
]


def play(
    recorded: table.Recorded, trials: int, rules: Sequence[str], job: tuple[Strategy, int]
) -> table.Outcome:
    """Run one strategy with one seed."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    strategy, seed = job
    return table.play(
        recorded,
        {"algorithm": strategy.search, "settings": strategy.settings, "seed": seed},
        strategy.stopping,
        trials=trials,
        parallel=PARALLEL,
        rules=rules,
    )


def reached(outcome: table.Outcome, accuracy: float) -> int:
    """Return after how many trials a search had this accuracy; one more than it ran if never."""
    hits = (n for n, best in enumerate(outcome.best, start=1) if best >= accuracy)
    return next(hits, len(outcome.best) + 1)


def regret(outcomes: Sequence[table.Outcome], best: float, trials: int) -> list[float]:
    """Return the regret of each search after so many trials, in points."""
    return [100 * (best - outcome.best[trials - 1]) for outcome in outcomes]


def as_table(found: dict[str, list[table.Outcome]], best: float, trials: int) -> str:
    """Return the comparison as a Markdown table."""
    base = found["random"]
    target = statistics.mean(outcome.best[min(TARGET_TRIALS, trials) - 1] for outcome in base)
    whole = statistics.mean(outcome.steps[-1] for outcome in base)
    lines = [
        f"| strategy | regret at {trials // 3} | regret at {trials} | ± | steps | "
        f"trials to random's {min(TARGET_TRIALS, trials)} |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, outcomes in found.items():
        early, late = (regret(outcomes, best, n) for n in (trials // 3, trials))
        error = statistics.stdev(late) / len(late) ** 0.5 if len(late) > 1 else 0.0
        steps = statistics.mean(outcome.steps[-1] for outcome in outcomes) / whole
        quick = statistics.mean(reached(outcome, target) for outcome in outcomes)
        lines.append(
            f"| {name} | {statistics.mean(early):.2f} | {statistics.mean(late):.2f} | "
            f"{error:.2f} | {steps:.0%} | {quick:.1f} |"
        )
    return "\n".join(lines) + "\n"


def draw(found: dict[str, list[table.Outcome]], best: float) -> None:
    """Plot mean regret over the steps spent."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "recorded"
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 5), layout="constrained")
    hidden = {"qmc", "random + patience", "random + percentile 25", "gp fitted on 30"}
    shown = [name for name in found if name not in hidden]
    colours = {"random": "#555", "tpe": "#1f6fd0", "gp": "#1a9a5a", "genetic": "#c2571a"}
    dashes = {"": "-", "median": "--", "asha": ":", "hyperband": "-.", "hyperband (BOHB)": "-."}
    for name in shown:
        search, _, stopping = name.partition(" + ")
        outcomes = found[name]
        count = len(outcomes[0].best)
        steps = [statistics.mean(o.steps[n] for o in outcomes) for n in range(count)]
        lost = [100 * (best - statistics.mean(o.best[n] for o in outcomes)) for n in range(count)]
        axes.plot(steps, lost, colours[search], linestyle=dashes[stopping], label=name)
    axes.set(xlabel="training steps spent", ylabel="mean regret (points of accuracy)")
    axes.set(xscale="log", yscale="log")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8, ncols=2)
    figure.savefig(PLOT, metadata={"Date": None})


def main() -> int:
    """Print the table, or put it into the README."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--only", nargs="+", help="search algorithms, beside random")
    parser.add_argument("--plain", action="store_true", help="without stopping or settings")
    parser.add_argument("--rules", nargs="+", default=[], help="space_rules that every trial keeps")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.write and options.rules:
        parser.error("the table of the README has no rules: leave --write or --rules out")
    recorded = table.Recorded()
    best = recorded.best(options.rules)
    chosen = [
        s for s in STRATEGIES if not options.only or s.search in options.only or s.name == "random"
    ]
    if options.plain:
        chosen = [s for s in chosen if s.name == s.search]
    jobs = [(strategy, seed) for strategy in chosen for seed in range(options.seeds)]
    start = time.monotonic()
    with multiprocessing.get_context("spawn").Pool() as pool:
        outcomes = pool.map(
            partial(play, recorded, options.trials, options.rules), jobs, chunksize=1
        )
    found: dict[str, list[table.Outcome]] = {strategy.name: [] for strategy in chosen}
    for (strategy, _), outcome in zip(jobs, outcomes, strict=True):
        found[strategy.name].append(outcome)
    made = as_table(found, best, options.trials)
    print(made)
    print(
        f"{len(recorded)} recorded trials, best {best:.4f}; {options.seeds} seeds, "
        f"{PARALLEL} in parallel; {time.monotonic() - start:.0f} s"
    )
    if options.write:
        text = README.read_text("utf-8")
        marks = r"(?<=<!-- table -->\n).*?(?=<!-- end of table -->)"
        README.write_text(re.sub(marks, lambda _: made, text, flags=re.DOTALL), "utf-8")
        draw(found, best)
    return 0


if __name__ == "__main__":
    sys.exit(main())
