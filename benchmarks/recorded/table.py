"""The recorded trials, and a search that plays on them instead of training.

A learning rate between two recorded ones has the result of the nearer on the logarithmic scale;
everything else that can be asked for was recorded as it is. Trials run side by side on a clock
of training steps, so that what a stopping rule knows at a decision is what it would know.
"""

from __future__ import annotations

import csv
import gzip
import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.trial import Point, Trial, TrialState
from hpo_pipeline.search.study import Study, Suggestion

TABLE = Path(__file__).parent / "digits.csv.gz"
CHOICES = ("per_device_train_batch_size", "model.num_hidden_layers", "model.hidden_size")
PRACTICAL = ("latency_p95_ms", "model_size_mb")
SPACE: dict[str, dict[str, Any]] = {
    "learning_rate": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
    "per_device_train_batch_size": {"type": "choice", "values": [16, 64]},
    "model.num_hidden_layers": {"type": "int", "low": 1, "high": 4},
    "model.hidden_size": {"type": "choice", "values": [24, 48, 96]},
}

Curve = tuple[Point, ...]


class Recorded:
    """The table: the whole curve of each configuration."""

    def __init__(self, path: Path = TABLE) -> None:
        self._curves: dict[tuple[float, ...], Curve] = {}
        with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                key = (float(row["learning_rate"]), *(float(row[name]) for name in CHOICES))
                metrics = {name: float(row[name]) for name in ("accuracy", *PRACTICAL)}
                step, done = int(row["evaluation"]), int(row["training_step"])
                point = Point(step, done, float(row["epoch"]), metrics)
                self._curves[key] = (*self._curves.get(key, ()), point)
        self._rates = sorted({key[0] for key in self._curves})

    def best(self, rules: Sequence[str] = ()) -> float:
        """Return the highest accuracy of what keeps the rules: regret is measured against it."""
        problem = _experiment({"algorithm": "random"}, {"algorithm": "none"}, rules).problem
        kept = (c for key, c in self._curves.items() if not problem.broken(_configuration(key)))
        return max(point.metrics["accuracy"] for curve in kept for point in curve)

    def __len__(self) -> int:
        return len(self._curves)

    def curve(self, assignments: dict[str, Any]) -> Curve:
        """Return the whole curve of the recorded configuration that is nearest."""
        wanted = math.log(assignments["learning_rate"])
        rate = min(self._rates, key=lambda r: abs(math.log(r) - wanted))
        return self._curves[(rate, *(float(assignments[name]) for name in CHOICES))]


@dataclass(frozen=True)
class Outcome:
    """How a search went: the best accuracy and the steps so far.

    After each trial that ended, and (`seen`, as steps and best) after each evaluation.
    """

    best: tuple[float, ...]
    steps: tuple[int, ...]
    seen: tuple[tuple[int, float], ...] = ()

    def at(self, steps: float) -> float:
        """Return the best accuracy that was seen within so many steps; 0 before the first."""
        return max((best for spent, best in self.seen if spent <= steps), default=0.0)


@dataclass
class _Running:
    suggestion: Suggestion
    curve: Curve
    seen: int = 0

    def next_steps(self) -> int:
        before = self.curve[self.seen - 1].training_step if self.seen else 0
        return self.curve[self.seen].training_step - before


def _configuration(key: tuple[float, ...]) -> dict[str, Any]:
    return {"learning_rate": key[0], **{n: int(v) for n, v in zip(CHOICES, key[1:], strict=True)}}


def _experiment(
    search: dict[str, Any], stopping: dict[str, Any], rules: Sequence[str], **budget: int
) -> Experiment:
    return Experiment.model_validate(
        {
            "name": "recorded",
            "task": {
                "kind": "image-classification",
                "model": "vit",
                "data": "digits",
                "training": {"num_train_epochs": 12},
            },
            "objective": {"metric": "accuracy", "goal": "maximize"},
            "space": SPACE,
            "space_rules": list(rules),
            "search": search,
            "stopping": stopping,
            "budget": {"trials": 1, **budget},
        }
    )


def play(
    recorded: Recorded,
    search: dict[str, Any],
    stopping: dict[str, Any],
    *,
    trials: int,
    parallel: int,
    rules: Sequence[str] = (),
) -> Outcome:
    """Run a search on the recorded trials."""
    experiment = _experiment(search, stopping, rules, trials=trials, parallel=parallel)
    study = Study(experiment.problem)
    clock: list[tuple[int, int, _Running]] = []  # when it evaluates next, its number, the trial
    best, steps, seen, spent, asked, now = [], [], [(0, 0.0)], 0, 0, 0
    while asked < trials or clock:
        while asked < trials and len(clock) < parallel:
            suggestion = study.ask()
            running = _Running(suggestion, recorded.curve(suggestion.assignments))
            heapq.heappush(clock, (now + running.next_steps(), suggestion.number, running))
            asked += 1
        now, number, running = heapq.heappop(clock)
        spent += running.next_steps()
        running.seen += 1
        curve = running.curve[: running.seen]
        seen.append((spent, max(curve[-1].metrics["accuracy"], seen[-1][1])))
        study.report(number, curve[-1])
        is_whole = running.seen == len(running.curve)
        if not is_whole and not study.should_stop(number, curve):
            heapq.heappush(clock, (now + running.next_steps(), number, running))
            continue
        top = max(curve, key=lambda point: point.metrics["accuracy"])
        state = TrialState.SUCCEEDED if is_whole else TrialState.STOPPED
        given = running.suggestion.assignments
        study.tell(Trial(study.name(number), number, state, given, top.metrics, curve=curve))
        best.append(max([top.metrics["accuracy"], *best[-1:]]))
        steps.append(spent)
    return Outcome(tuple(best), tuple(steps), tuple(seen))
