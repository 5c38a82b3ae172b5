"""The recorded studies, and a search that plays on one of them instead of training.

A learning rate between two recorded ones has the result of the nearer on the logarithmic scale;
everything else that can be asked for was recorded as it is. Trials run side by side on a clock
of training steps, so that what a stopping rule knows at a decision is what it would know.
"""

from __future__ import annotations

import csv
import gzip
import heapq
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.space import Space, render
from hpo_pipeline.results.trial import Point, Trial, TrialState
from hpo_pipeline.search.study import Suggestion

HERE = Path(__file__).parent
Key = tuple[str, ...]
Curve = tuple[Point, ...]


@dataclass(frozen=True)
class Source:
    """What a table was recorded of: the space that searches see, and the task.

    Everything but the learning rate was recorded at all of its values.
    """

    space: dict[str, dict[str, Any]]
    task: dict[str, Any]
    epochs: int


STUDIES = {
    "digits": Source(
        space={
            "learning_rate": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
            "per_device_train_batch_size": {"type": "choice", "values": [16, 64]},
            "model.num_hidden_layers": {"type": "int", "low": 1, "high": 4},
            "model.hidden_size": {"type": "choice", "values": [24, 48, 96]},
        },
        task={"kind": "image-classification", "model": "vit", "data": "digits"},
        epochs=12,
    ),
    "tweets": Source(
        space={
            "learning_rate": {"type": "float", "low": 6e-5, "high": 5.6e-3, "log": True},
            "per_device_train_batch_size": {"type": "choice", "values": [8, 16, 32, 64]},
            "warmup_steps": {"type": "choice", "values": [0.0, 0.2]},
            "lr_scheduler_type": {"type": "choice", "values": ["linear", "constant"]},
            "model.hidden_dropout_prob": {"type": "choice", "values": [0.0, 0.2]},
        },
        task={"kind": "text-classification", "model": "minilm", "data": "tweets"},
        epochs=6,
    ),
}
"""By name, which is also that of the table beside this file."""
BELIEFS = ("right", "near", "wrong")
"""About the learning rate: that of the best configuration, one four times as far, the worst."""


class Recorded:
    """A table: the whole curve of each configuration.

    Args:
        is_smooth: whether the geometric mean of what a model gives the right class, exp(-loss),
            stands in for its accuracy: it has no ties, and no row decides who is the best.
    """

    def __init__(self, name: str, *, is_smooth: bool = False) -> None:
        self.source = STUDIES[name]
        self._names = [n for n in self.source.space if n != "learning_rate"]
        self._curves: dict[tuple[float, Key], Curve] = {}
        with gzip.open(HERE / f"{name}.csv.gz", "rt", encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                key = float(row["learning_rate"]), tuple(row[name] for name in self._names)
                step, done = int(row["evaluation"]), int(row["training_step"])
                value = math.exp(-float(row["loss"])) if is_smooth else float(row["accuracy"])
                metrics = {"accuracy": value}
                point = Point(step, done, float(row["epoch"]), metrics)
                self._curves[key] = (*self._curves.get(key, ()), point)
        self._rates = sorted({rate for rate, _ in self._curves})

    def best(self, rules: Sequence[str] = ()) -> float:
        """Return the highest accuracy of what keeps the rules: regret is measured against it."""
        problem = self.experiment({"algorithm": "random"}, {"algorithm": "none"}, rules).problem
        kept = (
            curve
            for (rate, values), curve in self._curves.items()
            if not problem.broken(self._configuration(rate, values))
        )
        return max(point.metrics["accuracy"] for curve in kept for point in curve)

    def beliefs(self) -> dict[str, float]:
        """Return learning rates to believe in, by how good that is."""
        top: dict[float, list[float]] = {}
        for (rate, _), curve in self._curves.items():
            top.setdefault(rate, []).append(max(point.metrics["accuracy"] for point in curve))
        best = max(
            self._curves, key=lambda key: max(p.metrics["accuracy"] for p in self._curves[key])
        )
        worst = min(top, key=lambda rate: sum(top[rate]))
        right = best[0]
        near = right / 4 if right / 4 >= self._rates[0] else right * 4
        return {"right": right, "near": near, "wrong": worst}

    def mean_steps(self) -> float:
        """Return the training steps of a trial that runs to its end, on the mean."""
        found = [curve[-1].training_step for curve in self._curves.values()]
        return sum(found) / len(found)

    def _configuration(self, rate: float, values: Key) -> dict[str, Any]:
        texts = zip(self._names, values, strict=True)
        return {"learning_rate": rate, **_space(self.source).parse(dict(texts))}

    def __len__(self) -> int:
        return len(self._curves)

    def curve(self, assignments: dict[str, Any]) -> Curve:
        """Return the whole curve of the recorded configuration that is nearest."""
        wanted = math.log(assignments["learning_rate"])
        rate = min(self._rates, key=lambda r: abs(math.log(r) - wanted))
        return self._curves[rate, tuple(render(assignments[name]) for name in self._names)]

    def experiment(
        self, search: dict[str, Any], stopping: dict[str, Any], rules: Sequence[str], **budget: int
    ) -> Experiment:
        """Return the experiment of a search on the table."""
        training = {"training": {"num_train_epochs": self.source.epochs}}
        return Experiment.model_validate(
            {
                "name": "recorded",
                "task": {**self.source.task, **training},
                "objective": {"metric": "accuracy", "goal": "maximize"},
                "space": self.source.space,
                "space_rules": list(rules),
                "search": search,
                "stopping": stopping,
                "baseline": "none",
                "budget": {"trials": 1, **budget},
            }
        )


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


class Searching(Protocol):
    """What plays on a table: our Study, or a search of a peer (peer_searches.py)."""

    def ask(self) -> Suggestion:
        """Return a configuration to try."""

    def report(self, number: int, point: Point) -> None:
        """Take an evaluation of a trial."""

    def should_stop(self, number: int, curve: Sequence[Point]) -> bool:
        """Return whether a trial ends at the last point of its curve."""

    def tell(self, trial: Trial) -> None:
        """Take a trial that has ended."""

    def is_exhausted(self) -> bool:
        """Return whether there is nothing left to try."""


@dataclass
class _Running:
    suggestion: Suggestion
    curve: Curve
    seen: int = 0

    def next_steps(self) -> int:
        before = self.curve[self.seen - 1].training_step if self.seen else 0
        return self.curve[self.seen].training_step - before


def there() -> list[str]:
    """Return the names of the studies whose tables are there."""
    return [name for name in STUDIES if (HERE / f"{name}.csv.gz").exists()]


@cache
def recorded(name: str, is_smooth: bool = False) -> Recorded:
    """Return a table, which a process reads once."""
    return Recorded(name, is_smooth=is_smooth)


@cache
def _spaces(text: str) -> Space:
    return Space.model_validate_json(text)


def _space(source: Source) -> Space:
    return _spaces(json.dumps(source.space))


def play(
    recorded: Recorded, study: Searching, *, trials: int, parallel: int, steps: float = 0.0
) -> Outcome:
    """Run a search on the recorded trials.

    Args:
        trials: how many trials it has at least.
        steps: how many training steps it has at least.
    """
    clock: list[tuple[int, int, _Running]] = []  # when it evaluates next, its number, the trial
    best, ends, seen, spent, asked, now = [], [], [(0, 0.0)], 0, 0, 0
    while True:
        is_open = (asked < trials or spent < steps) and not study.is_exhausted()
        if not is_open and not clock:
            break
        while is_open and len(clock) < parallel and not study.is_exhausted():
            suggestion = study.ask()
            running = _Running(suggestion, recorded.curve(suggestion.assignments))
            heapq.heappush(clock, (now + running.next_steps(), suggestion.number, running))
            asked += 1
            is_open = asked < trials or spent < steps
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
        study.tell(Trial(f"recorded-{number:04d}", number, state, given, top.metrics, curve=curve))
        best.append(max([top.metrics["accuracy"], *best[-1:]]))
        ends.append(spent)
    return Outcome(tuple(best), tuple(ends), tuple(seen))
