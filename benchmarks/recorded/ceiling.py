"""How far early stopping could go, were its forecasts perfect.

The rule of this script knows from the first evaluation of a trial on where its curve will end, and
stops it then unless it ends above the best value so far. No rule that looks at curves can do
better. Beside it, `tpe, told the ends` also learns from stopped trials as if they had been trained
to their end.

    python benchmarks/recorded/ceiling.py [--study digits] [--seeds 30] [--smooth]

The tables are those of compare.py by steps.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch: a process a core

import optuna
import table
from compare import AUTO, PARALLEL, Job, Strategy, by_steps

from hpo_pipeline.results.trial import Point, Trial, TrialState
from hpo_pipeline.search.study import Suggestion

SHARE = 0.5
"""Of the training steps of random search, how many each search has."""
LISTED = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, SHARE)
TRIALS = 60


class Foreseeing:
    """A search whose stopping rule knows how each trial would end."""

    def __init__(
        self, search: table.Searching, recorded: table.Recorded, *, tells_ends: bool
    ) -> None:
        self._search, self._recorded, self._tells_ends = search, recorded, tells_ends
        self._best = 0.0
        self._asked: dict[int, Suggestion] = {}

    def ask(self) -> Suggestion:
        """Return a configuration to try."""
        found = self._search.ask()
        self._asked[found.number] = found
        return found

    def report(self, number: int, point: Point) -> None:
        """Take an evaluation of a trial."""
        self._best = max(self._best, point.metrics["accuracy"])
        self._search.report(number, point)

    def should_stop(self, number: int, curve: Sequence[Point]) -> bool:
        """Return whether the trial will not end above the best value so far."""
        whole = self._recorded.curve(self._asked[number].assignments)
        return max(point.metrics["accuracy"] for point in whole) <= self._best

    def tell(self, trial: Trial) -> None:
        """Take a trial that has ended."""
        if self._tells_ends:
            curve = self._recorded.curve(trial.assignments)
            top = max(curve, key=lambda point: point.metrics["accuracy"])
            trial = replace(trial, state=TrialState.SUCCEEDED, metrics=top.metrics, curve=curve)
        self._search.tell(trial)

    def is_exhausted(self) -> bool:
        """Return whether there is nothing left to try."""
        return self._search.is_exhausted()


@dataclass(frozen=True)
class Case:
    """A strategy, and how much of the future it knows."""

    strategy: Strategy
    foresees: bool = False
    tells_ends: bool = False


CASES = (
    Case(Strategy("random", "random")),
    Case(Strategy("auto + auto", "auto", AUTO)),
    Case(Strategy("random, perfect stopping", "random", AUTO), foresees=True),
    Case(Strategy("tpe, perfect stopping", "auto", AUTO), foresees=True),
    Case(Strategy("tpe, told the ends", "auto", AUTO), foresees=True, tells_ends=True),
    Case(Strategy("gp, told the ends", "gp", AUTO), foresees=True, tells_ends=True),
)


def play(given: tuple[str, bool, Case, int]) -> table.Outcome:
    """Run one case on a study with one seed."""
    study, is_smooth, case, seed = given
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    warnings.simplefilter("ignore")
    recorded = table.recorded(study, is_smooth)
    whole = case.strategy.search == "random" and not case.foresees
    search = case.strategy.opened(recorded, Job(study, case.strategy, seed, TRIALS, True))
    if case.foresees:
        search = Foreseeing(search, recorded, tells_ends=case.tells_ends)
    steps = TRIALS * recorded.mean_steps() * (1.0 if whole else SHARE)
    return table.play(recorded, search, trials=PARALLEL, parallel=PARALLEL, steps=steps)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--study", choices=table.STUDIES, nargs="+", default=table.there())
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--smooth", action="store_true", help="by exp(-loss), see compare.py")
    options = parser.parse_args()
    for study in options.study:
        seeds = range(options.seeds)
        given = [(study, options.smooth, case, seed) for case in CASES for seed in seeds]
        with multiprocessing.get_context("spawn").Pool() as pool:
            outcomes = pool.map(play, given, chunksize=1)
        found: dict[str, list[table.Outcome]] = {case.strategy.name: [] for case in CASES}
        for (_, _, case, _), outcome in zip(given, outcomes, strict=True):
            found[case.strategy.name].append(outcome)
        recorded = table.recorded(study, options.smooth)
        steps = TRIALS * recorded.mean_steps()
        print(f"{study}\n{by_steps(found, recorded.best(), steps, LISTED)}", flush=True)


if __name__ == "__main__":
    main()
