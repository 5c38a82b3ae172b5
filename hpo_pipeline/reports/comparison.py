"""Runs side by side, as plain tables: for `hpo compare`, its page and the live page. Pure.

It says in words what makes runs hard to compare, such as other objectives or other data, and draws
no conclusion of its own.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hpo_pipeline.experiment.metrics import PRACTICAL_METRICS
from hpo_pipeline.experiment.objective import Objective, with_score
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.verdict import Interval
from hpo_pipeline.reports import formatting
from hpo_pipeline.reports.best_so_far import best_so_far
from hpo_pipeline.reports.compared_rows import Cell, Row, Table, best_place, row_of
from hpo_pipeline.reports.compared_settings import differing_settings
from hpo_pipeline.results.outcome import Winner
from hpo_pipeline.results.ranking import winner
from hpo_pipeline.results.run_state import RunState
from hpo_pipeline.results.spending import spending
from hpo_pipeline.results.trial import Trial, TrialState

MOST_COMPARED = 6
"""Runs that are compared at most: columns that a page still shows side by side."""


@dataclass(frozen=True)
class ComparedRun:
    """A run as it is compared; `importances` are shares by parameter, where they are known."""

    name: str
    experiment: Experiment
    state: RunState
    status: str
    trials: tuple[Trial, ...]
    importances: Mapping[str, float] | None = None

    @property
    def winner(self) -> Winner | None:
        """The winner, or the best trial so far that meets the constraints."""
        if self.state.winner is not None:
            return self.state.winner
        best = winner(self.experiment, self.trials)
        if best is None:
            return None
        return Winner(best.name, best.assignments, best.metrics, intervals=best.intervals)


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes:
        notes: sentences on what cannot be compared.
        histories: of each run the points [number of the trial, best value so far]; empty where
            the first objectives of the runs are not the same.
        objective: the first objective, where all runs have the same.
    """

    runs: tuple[str, ...]
    notes: tuple[str, ...]
    tables: tuple[Table, ...]
    histories: tuple[list[list[float]], ...]
    objective: str | None

    def to_json(self) -> dict[str, Any]:
        """Return what `hpo compare --json` prints: by table and line, a value for each run."""
        return {
            "runs": list(self.runs),
            "notes": list(self.notes),
            "tables": {t.title: {r.name: list(r.values) for r in t.rows} for t in self.tables},
            "histories": dict(zip(self.runs, self.histories, strict=True)),
        }

    def shown(self) -> dict[str, Any]:
        """Return what the pages show."""
        return {
            "runs": list(self.runs),
            "notes": list(self.notes),
            "tables": [
                {
                    "title": table.title,
                    "rows": [
                        {
                            "name": row.name,
                            "cells": list(row.shown),
                            "differs": row.differs,
                            "best": row.best,
                        }
                        for row in table.rows
                    ],
                }
                for table in self.tables
            ],
            "histories": list(self.histories),
            "objective": self.objective,
        }


def compare(runs: Sequence[ComparedRun], *, missing: Sequence[str] = ()) -> Comparison:
    """Compare runs; `missing` are those that were asked for and could not be read."""
    first = runs[0].experiment.objective[0]
    has_one_aim = all(_aim(run.experiment.objective[0]) == _aim(first) for run in runs)
    tables = (
        Table("Runs", _facts(runs)),
        Table("Objectives and metrics of the winner", _metrics(runs, is_practical=False)),
        Table("Practical metrics of the winner", _metrics(runs, is_practical=True)),
        Table("Configuration of the winner", _assignments(runs)),
        Table("Time and cost", _costs(runs)),
        Table("Importance of the parameters", _importances(runs)),
        Table("Settings that differ", differing_settings([run.experiment for run in runs])),
    )
    return Comparison(
        runs=tuple(run.name for run in runs),
        notes=tuple([f"{name} is not there any more, or cannot be read." for name in missing])
        + tuple(_notes(runs)),
        tables=tuple(table for table in tables if table.rows),
        histories=tuple(
            best_so_far(run.experiment, run.trials) if has_one_aim else [] for run in runs
        ),
        objective=_title(first) if has_one_aim else None,
    )


def _notes(runs: Sequence[ComparedRun]) -> Iterable[str]:
    aims = {run.name: ", ".join(map(_title, run.experiment.objective)) for run in runs}
    formulas = {tuple(map(_aim, run.experiment.objective)) for run in runs}
    if len(formulas) > 1:
        listed = "; ".join(f"{name}: {aim}" for name, aim in aims.items())
        yield f"The runs have different objectives ({listed}): which is better depends on yours."
    prints = {run.state.data_fingerprint for run in runs if run.state.data_fingerprint}
    if len(prints) > 1:
        yield (
            "The runs were trained on different data: their metrics say as much of the data as of "
            "the configurations."
        )
    for run in runs:
        ended = sum(trial.state.is_final for trial in run.trials)
        if run.winner is None:
            why = "no trial has ended yet" if not ended else "no trial meets the constraints"
            yield f"{run.name} has no best trial: {why}."
        elif run.state.winner is None:
            yield f"{run.name} has no winner yet: its best trial so far is shown."


def _facts(runs: Sequence[ComparedRun]) -> tuple[Row, ...]:
    def row(name: str, read: Callable[[ComparedRun], Cell]) -> Row:
        return row_of(name, [read(run) for run in runs])

    rows = [
        row("state", lambda run: run.status),
        row("reason", lambda run: run.state.reason),
        row("objective", lambda run: ", ".join(map(_title, run.experiment.objective))),
        row("winner", lambda run: run.winner.name if run.winner else None),
        row("registered", lambda run: run.state.winner.registered if run.state.winner else None),
        row("planned trials", _planned),
        *(
            row(f"{state.value} trials", lambda run, state=state: _count(run, state))  # type: ignore[misc]
            for state in TrialState
        ),
    ]
    return tuple(row for row in rows if any(value not in (None, 0) for value in row.values))


def _planned(run: ComparedRun) -> int:
    return run.experiment.budget.trials + run.state.added_trials


def _count(run: ComparedRun, state: TrialState) -> int:
    return sum(trial.state is state for trial in run.trials)


def _metrics(runs: Sequence[ComparedRun], *, is_practical: bool) -> tuple[Row, ...]:
    """Return the metrics of the winners, objectives first, each with that on the test rows."""
    validation = [_scored(run, test=False) for run in runs]
    test = [_scored(run, test=True) for run in runs]
    aims = [o.name for run in runs for o in run.experiment.objective]
    names = dict.fromkeys([*aims, *sorted({n for found in [*validation, *test] for n in found})])
    rows = []
    for name in names:
        if (name in PRACTICAL_METRICS) != is_practical:
            continue
        sign = _sign(name, runs)
        for suffix, found, is_test in (("", validation, False), (", test", test, True)):
            if any(name in metrics for metrics in found):
                intervals = [_intervals(run, test=is_test).get(name) for run in runs]
                values = [metrics.get(name) for metrics in found]
                row = row_of(name + suffix, values, intervals)
                rows.append(replace(row, best=best_place(values, intervals, sign)))
    return tuple(rows)


def _sign(name: str, runs: Sequence[ComparedRun]) -> int | None:
    """Return 1 where more of a metric is better, -1 where less is, None where nobody said."""
    goals = {o.sign() for run in runs for o in run.experiment.objective if o.name == name}
    if name in PRACTICAL_METRICS:
        goals.add(1 if PRACTICAL_METRICS[name].better == "higher" else -1)
    return goals.pop() if len(goals) == 1 else None


def _scored(run: ComparedRun, *, test: bool) -> dict[str, float]:
    found = run.winner
    metrics = {} if found is None else found.test if test else found.metrics
    scored = with_score(metrics, run.experiment.objective)
    return {name: value for name, value in scored.items() if math.isfinite(value)}


def _intervals(run: ComparedRun, *, test: bool) -> Mapping[str, Interval]:
    found = run.winner
    return {} if found is None else found.test_intervals if test else found.intervals


def _assignments(runs: Sequence[ComparedRun]) -> tuple[Row, ...]:
    found = [dict(run.winner.assignments) if run.winner else {} for run in runs]
    names = sorted({name for values in found for name in values})
    return tuple(
        Row(
            name,
            tuple(formatting.value(values[name]) if name in values else "" for values in found),
            tuple(values.get(name) for values in found),
        )
        for name in names
    )


def _costs(runs: Sequence[ComparedRun]) -> tuple[Row, ...]:
    found: dict[str, list[float | None]] = {
        "search time": [run.state.seconds for run in runs],
        "time in trials": [_seconds(run.trials) for run in runs],
        "median time of a succeeded trial": [_median_seconds(run.trials) for run in runs],
        "time in stopped trials": [_seconds(run.trials, TrialState.STOPPED) for run in runs],
        "time in failed trials": [_seconds(run.trials, TrialState.FAILED) for run in runs],
    }
    rows = [
        Row(name, tuple(map(formatting.duration, values)), tuple(values))
        for name, values in found.items()
        if any(values)
    ]
    spent = [spending(run.experiment, run.trials) for run in runs]
    if any(spent):
        shown = [
            run.experiment.prices.amount(one.spent) if one and run.experiment.prices else ""
            for run, one in zip(runs, spent, strict=True)
        ]
        rows.append(
            Row(
                "cost of the trials",
                tuple(shown),
                tuple(one.spent if one else None for one in spent),
            )
        )
    devices = [_devices(run) for run in runs]
    return tuple([*rows, row_of("computed on", devices)] if any(devices) else rows)


def _seconds(trials: Sequence[Trial], state: TrialState | None = None) -> float:
    found = (t for t in trials if t.reused_from is None and state in (None, t.state))
    return math.fsum(value for trial in found for value in trial.seconds.values())


def _median_seconds(trials: Sequence[Trial]) -> float | None:
    done = [t for t in trials if t.state is TrialState.SUCCEEDED and t.reused_from is None]
    found = [math.fsum(trial.seconds.values()) for trial in done if trial.seconds]
    return statistics.median(found) if found else None


def _devices(run: ComparedRun) -> str | None:
    devices = (t.environment.get("device") or t.environment.get("processor") for t in run.trials)
    return ", ".join(dict.fromkeys(device for device in devices if device)) or None


def _importances(runs: Sequence[ComparedRun]) -> tuple[Row, ...]:
    known = [run.importances or {} for run in runs]
    names = sorted({name for shares in known for name in shares})
    names.sort(key=lambda name: -max(shares.get(name, 0.0) for shares in known))
    return tuple(
        Row(
            name,
            tuple(f"{shares[name]:.0%}" if name in shares else "" for shares in known),
            tuple(shares.get(name) for shares in known),
        )
        for name in names
    )


def _aim(objective: Objective) -> tuple[str, str, str | None]:
    return objective.name, objective.goal, objective.score


def _title(objective: Objective) -> str:
    return f"{objective.goal} {objective.score or objective.name}"
