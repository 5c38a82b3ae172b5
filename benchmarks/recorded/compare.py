"""Search algorithms and stopping rules, ours and those of peers, on the recorded studies.

Regret is the highest recorded accuracy less the best that the search has seen, in points (one
hundredth), averaged over seeds; steps are training steps, of all trials, as a share of those of
random search without stopping. By steps, a search continues until it has used as many.

    python benchmarks/recorded/compare.py [--by trials] [--study digits] [--only tpe gp]
    python benchmarks/recorded/compare.py --by trials --plain --rules "model.hidden_size >= 24"
    python benchmarks/recorded/compare.py --smooth     by exp(-loss) instead of accuracy
    python benchmarks/recorded/compare.py --write     the tables and plots of benchmarks/README.md

The algorithms are the very ones that the engines use; only training is replaced by the table. The
peers need the extra `peers`; `--only auto tpe` leaves them out.
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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch: a process a core

import optuna
import table
from peer_searches import PEERS

from hpo_pipeline.search.study import Study

README = Path(__file__).parent.parent / "README.md"
PLOT = Path(__file__).parent / "regret.svg"
SHARES = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
"""Of the training steps of random search, those at which regrets are listed."""
TARGET_TRIALS = 40
"""How quickly others reach what random search has after this many trials."""
PARALLEL = 4


@dataclass(frozen=True)
class Strategy:
    """A search algorithm with a stopping rule, or a peer's by its name."""

    name: str
    search: str
    stopping: dict[str, Any] = field(default_factory=lambda: {"algorithm": "none"})
    settings: dict[str, Any] = field(default_factory=dict)
    belief: str | None = None

    def opened(self, recorded: table.Recorded, job: Job) -> table.Searching:
        """Return the search, with nothing tried yet."""
        if self.search in PEERS:
            return PEERS[self.search](recorded.source, job.seed)  # type: ignore[no-any-return]
        search = {"algorithm": self.search, "settings": self.settings, "seed": job.seed}
        if self.belief is not None:
            search["prior"] = {"learning_rate": recorded.beliefs()[self.belief]}
        budget = {"trials": job.trials, "parallel": PARALLEL}
        return Study(recorded.experiment(search, self.stopping, job.rules, **budget).problem)


@dataclass(frozen=True)
class Job:
    """One search to play."""

    study: str
    strategy: Strategy
    seed: int
    trials: int
    by_steps: bool
    rules: tuple[str, ...] = ()
    is_smooth: bool = False


ASHA = {"algorithm": "asha", "grace_period": 1, "reduction_factor": 3}
HYPERBAND = {"algorithm": "hyperband", "grace_period": 1, "reduction_factor": 3, "max_resource": 12}
MEDIAN = {"algorithm": "median", "min_trials": 3, "start_step": 2}
AUTO = {"algorithm": "auto"}
BY_TRIALS = [
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


BY_STEPS = [
    Strategy("random", "random"),
    Strategy("auto + auto", "auto", AUTO),
    Strategy("tpe + median", "tpe", MEDIAN),
    *(Strategy(name, name) for name in PEERS),
]
BELIEFS = [
    replace(
        strategy,
        name=f"{strategy.name}, {belief} belief" if belief else strategy.name,
        belief=belief,
    )
    for strategy in (BY_STEPS[0], BY_STEPS[1])
    for belief in (None, *table.BELIEFS)
]
"""Random search and ours, each without and with what a user believes of the learning rate."""
LISTS = {"trials": BY_TRIALS, "steps": BY_STEPS, "beliefs": BELIEFS}


def play(job: Job) -> table.Outcome:
    """Run one strategy with one seed."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    recorded = table.recorded(job.study, job.is_smooth)
    return table.play(
        recorded,
        job.strategy.opened(recorded, job),
        trials=job.trials,
        parallel=PARALLEL,
        steps=job.trials * recorded.mean_steps() if job.by_steps else 0,
    )


def reached(outcome: table.Outcome, accuracy: float) -> int:
    """Return after how many trials a search had this accuracy; one more than it ran if never."""
    hits = (n for n, best in enumerate(outcome.best, start=1) if best >= accuracy)
    return next(hits, len(outcome.best) + 1)


def regret(outcomes: Sequence[table.Outcome], best: float, trials: int) -> list[float]:
    """Return the regret of each search after so many trials, in points."""
    return [100 * (best - outcome.best[trials - 1]) for outcome in outcomes]


def as_table(found: dict[str, list[table.Outcome]], best: float, trials: int) -> str:
    """Return the comparison by trials as a Markdown table."""
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


def by_steps(
    found: dict[str, list[table.Outcome]],
    best: float,
    steps: float,
    shares: Sequence[float] = SHARES,
) -> str:
    """Return the comparison by training steps as a Markdown table.

    Args:
        steps: those of random search in all its trials.
    """
    first = next(iter(found.values()))
    goal = statistics.mean(lost(first, best, steps))
    lines = [
        "| strategy | " + " | ".join(f"{share:.0%}" for share in shares) + " | ± | steps to goal |",
        "|---|" + "---:|" * (len(shares) + 2),
    ]
    for name, outcomes in found.items():
        each = [lost(outcomes, best, share * steps) for share in shares]
        error = statistics.stdev(each[-1]) / len(outcomes) ** 0.5 if len(outcomes) > 1 else 0.0
        cells = [f"{statistics.mean(values):.2f}" for values in each]
        share = next(
            (
                f"{n}%"
                for n in range(1, 101)
                if statistics.mean(lost(outcomes, best, n / 100 * steps)) <= goal
            ),
            "more",
        )
        lines.append(f"| {name} | {' | '.join(cells)} | {error:.2f} | {share} |")
    return "\n".join(lines) + "\n"


def lost(outcomes: Sequence[table.Outcome], best: float, steps: float) -> list[float]:
    """Return the regret of each search after so many steps, in points."""
    return [100 * (best - outcome.at(steps)) for outcome in outcomes]


def worse_than(found: dict[str, list[table.Outcome]], best: float, steps: float) -> list[str]:
    """Return where another strategy is better than `auto + auto` by more than a standard error.

    The error is that of the difference over the seeds, which both strategies share.
    """
    ours, said = found.get("auto + auto"), []
    for name, outcomes in found.items() if ours else ():
        for n in range(10, 101, 5):
            a, b = (lost(o, best, n / 100 * steps) for o in (ours, outcomes))
            gaps = [x - y for x, y in zip(a, b, strict=True)]
            error = statistics.stdev(gaps) / len(gaps) ** 0.5 if len(gaps) > 1 else 0.0
            if statistics.mean(gaps) > max(error, 1e-9):
                said.append(f"{name} at {n}%: by {statistics.mean(gaps):.2f} ± {error:.2f}")
    return said


COLOURS = {
    "random": "#777777",
    "auto + auto": "#c2185b",
    "tpe + median": "#1f6fd0",
    "Optuna TPE": "#e08a00",
    "Optuna TPE + median": "#e08a00",
    "Optuna TPE + halving": "#e08a00",
    "Optuna TPE + Hyperband": "#e08a00",
    "Hyperopt TPE": "#1a9a5a",
    "DEHB": "#7b4fc4",
}
DASHES = {"median": "--", "Hyperband": "-.", "halving": ":"}


def draw(every: dict[str, tuple[dict[str, list[table.Outcome]], float, float]]) -> None:
    """Plot the mean regret over the steps spent, a study beside the other.

    Args:
        every: by study, what was found, the best accuracy, and the steps of random search.
    """
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "recorded"
    from matplotlib import pyplot as plt

    size = (6.5 * len(every), 5)
    figure, places = plt.subplots(1, len(every), figsize=size, layout="constrained", squeeze=False)
    for axes, (study, (found, best, steps)) in zip(places[0], every.items(), strict=True):
        shares = [n / 100 for n in range(4, 101, 2)]
        for name, outcomes in found.items():
            means = [statistics.mean(lost(outcomes, best, share * steps)) for share in shares]
            is_auto = name == "auto + auto"
            style = DASHES.get(name.partition(" + ")[2], "-")
            axes.plot(
                [100 * share for share in shares],
                means,
                COLOURS[name],
                linestyle=style,
                linewidth=2.6 if is_auto else 1.3,
                zorder=3 if is_auto else 2,
                label=name,
            )
        axes.set(xlabel="training steps, % of random search", title=study, yscale="log")
        axes.grid(alpha=0.3, which="both")
    places[0][0].set(ylabel="mean regret (points of accuracy)")
    places[0][-1].legend(fontsize=8)
    figure.savefig(PLOT, metadata={"Date": None})


def written(name: str, made: str) -> None:
    """Put a table into the README, between its marks."""
    text = README.read_text("utf-8")
    marks = rf"(?<=<!-- {name} -->\n).*?(?=<!-- end of {name} -->)"
    if not re.search(marks, text, flags=re.DOTALL):
        raise SystemExit(f"{README}: has no marks for {name}")
    README.write_text(re.sub(marks, lambda _: made, text, flags=re.DOTALL), "utf-8")


def main() -> int:
    """Print the tables, or put them into the README."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--by", choices=LISTS, default="steps")
    parser.add_argument("--study", choices=table.STUDIES, nargs="+", default=table.there())
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--only", nargs="+", help="search algorithms, beside random")
    parser.add_argument("--plain", action="store_true", help="without stopping or settings")
    parser.add_argument("--rules", nargs="+", default=[], help="space_rules that every trial keeps")
    parser.add_argument(
        "--smooth", action="store_true", help="by exp(-loss) instead of accuracy, which has ties"
    )
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.write and (options.rules or options.smooth):
        parser.error("the tables of the README are of accuracy without rules: leave --write out")
    chosen = [
        s
        for s in LISTS[options.by]
        if not options.only or s.search in options.only or s.name == "random"
    ]
    if options.plain:
        chosen = [s for s in chosen if s.name == s.search]
    start, every = time.monotonic(), {}
    is_by_steps = options.by != "trials"
    for study in options.study:
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        rules = tuple(options.rules)
        jobs = [
            Job(study, s, n, options.trials, is_by_steps, rules, options.smooth)
            for s in chosen
            for n in seeds
        ]
        with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
            outcomes = pool.map(play, jobs, chunksize=1)
        found: dict[str, list[table.Outcome]] = {strategy.name: [] for strategy in chosen}
        for job, outcome in zip(jobs, outcomes, strict=True):
            found[job.strategy.name].append(outcome)
        recorded = table.recorded(study, options.smooth)
        best, steps = recorded.best(options.rules), options.trials * recorded.mean_steps()
        every[study] = found, best, steps
        made = (
            by_steps(found, best, steps) if is_by_steps else as_table(found, best, options.trials)
        )
        print(made)
        print(
            f"{study}: {len(recorded)} recorded trials, best {best:.4f}; {options.seeds} seeds, "
            f"{PARALLEL} in parallel; {time.monotonic() - start:.0f} s"
        )
        if options.by == "steps":
            print("better than auto:", "; ".join(worse_than(found, best, steps)) or "none")
        if options.write:
            written(f"{options.by} {study}", made)
    if options.write and options.by == "steps":
        draw(every)
    return 0


if __name__ == "__main__":
    sys.exit(main())
