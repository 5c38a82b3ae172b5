"""What the live page shows, as plain data: bounded, whatever the size of a run. Pure.

The table has the running trials, then the ranking; charts have at most 300 points and 12 curves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from hpo_pipeline.experiment.configuration import allowed, conditions
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.space import render
from hpo_pipeline.monitoring.cached_run import LOG_FILE, RunView, log_tail
from hpo_pipeline.reports import formatting
from hpo_pipeline.reports.best_so_far import growth, thinned
from hpo_pipeline.reports.comparison import ComparedRun
from hpo_pipeline.results.outcome import SearchResult
from hpo_pipeline.results.ranking import violation
from hpo_pipeline.results.requests import answers, waiting
from hpo_pipeline.results.training_progress import training_progress
from hpo_pipeline.results.trial import Trial

ROWS = 200
CURVES = 12
LOG_BYTES = 20_000
REQUESTS = 8
"""Requests of people that the page of a run shows: those that wait, and the last answers."""
Json = dict[str, Any]


def run_row(view: RunView) -> Json:
    """Return a run as a line of the list of runs."""
    best = view.standing.winner
    return {
        "name": view.name,
        "experiment": view.experiment.name,
        "state": view.status,
        "reason": view.state.reason,
        "counts": _counts(view),
        "planned": view.experiment.budget.trials + view.state.added_trials,
        "seconds": formatting.duration(view.state.seconds),
        "objectives": [_title(o.name, o.goal) for o in view.experiment.objective],
        "best": formatting.objectives(view.experiment, best.metrics) if best else None,
        "changed": view.changed,
    }


def run_detail(view: RunView) -> Json:
    """Return a run with its first trials, its history and its curves."""
    experiment = view.experiment
    ranked, others = view.standing.ranked, view.standing.others
    rows = [*view.active, *ranked[:ROWS], *others[:ROWS]][:ROWS]
    places = {trial.name: place for place, trial in enumerate(ranked[:ROWS], start=1)}
    chosen = view.state.winner
    return {
        **run_row(view),
        "winner": chosen.name if chosen else (ranked[0].name if ranked else None),
        "test": {n: formatting.number(v) for n, v in chosen.test.items()} if chosen else {},
        "registered": chosen.registered if chosen else None,
        "constraints": list(experiment.constraints),
        "trials": [{**_row(experiment, t), "place": places.get(t.name)} for t in rows],
        "hidden": len(view.trials) - len(rows),
        "history": growth(experiment, (view.standing.keys or {}).values()),
        **_curves(experiment, [*view.active, *ranked[:CURVES]][:CURVES]),
        "requests": _requests(view),
        "takes_requests": view.takes_requests,
    }


def form(view: RunView, name: str) -> Json:
    """Return what the forms for more trials need; values are those of a trial, or the best."""
    space = view.experiment.space
    chosen = next((t for t in view.trials if t.name == name), None) or view.standing.winner
    values = chosen.assignments if chosen else {}
    return {
        "run": view.name,
        "like": chosen.name if chosen else None,
        "takes_requests": view.takes_requests,
        "rules": list(view.experiment.space_rules),
        "parameters": [
            {
                "name": n,
                "value": render(values[n]) if n in values else "",
                "allowed": allowed(space[n]),
                "choices": [render(v) for v in getattr(space[n], "values", ())],
                "when": conditions(space[n]),
            }
            for n in space
        ],
    }


def trial_detail(view: RunView, name: str) -> Json | None:
    """Return a trial with its curve and the end of its log; None where there is none."""
    trial = next((t for t in view.trials if t.name == name), None)
    if trial is None:
        return None
    return {
        **_row(view.experiment, trial),
        "run": view.name,
        "takes_requests": view.takes_requests,
        "objectives": [o.name for o in view.experiment.objective],
        "values": {n: render(v) for n, v in trial.assignments.items()},
        "metrics": {n: formatting.number(v) for n, v in sorted(trial.metrics.items())},
        "phases": {n: round(v, 2) for n, v in trial.seconds.items()},
        "environment": dict(trial.environment),
        **_curves(view.experiment, [trial]),
        "log": log_tail(view.folder.trial(trial.name) / LOG_FILE, most=LOG_BYTES),
    }


def compared(view: RunView) -> ComparedRun:
    """Return a run as it is compared with others."""
    return ComparedRun(view.name, view.experiment, view.state, view.status, view.trials)


def _requests(view: RunView) -> list[Json]:
    open_ones = [{"asked": r.words(), "said": "waits"} for r in waiting(view.folder.requests)]
    done = [{"asked": a.asked, "said": a.said} for a in answers(view.folder.requests)]
    return [*open_ones[::-1], *done[::-1]][:REQUESTS]


def _counts(view: RunView) -> dict[str, int]:
    return SearchResult("", "", 0.0, view.trials).counts()


def _title(name: str, goal: str) -> str:
    return f"{name} ({goal})"


def _row(experiment: Experiment, trial: Trial) -> Json:
    progress = None if trial.state.is_final else training_progress(experiment, trial)
    return {
        "name": trial.name,
        "number": trial.number,
        "state": trial.state.value,
        "value": formatting.objectives(experiment, _metrics(trial)) if _metrics(trial) else None,
        "misses": trial.state.is_final and violation(experiment, trial) > 0,
        "assignments": formatting.assignments(trial.assignments),
        "seconds": formatting.duration(math.fsum(trial.seconds.values()) or None),
        "reason": trial.reason,
        "progress": formatting.training(progress) if progress else None,
        "done": progress.done if progress else None,
    }


def _metrics(trial: Trial) -> dict[str, float]:
    return trial.metrics or (trial.curve[-1].metrics if trial.curve else {})


def _curves(experiment: Experiment, trials: Sequence[Trial]) -> Json:
    """Return curves by epoch; by step where a script of one's own counts no epochs."""
    first = experiment.objective[0]
    has_epochs = any(point.epoch > 0 for trial in trials for point in trial.curve)
    found = []
    for trial in trials:
        places = [(p.epoch if has_epochs else p.step, p) for p in trial.curve]
        values = [[at, first.value(p.metrics)] for at, p in places]
        points = [point for point in values if math.isfinite(point[1])]
        if points:
            found.append({"name": trial.name, "points": thinned(points)})
    return {"along": "epoch" if has_epochs else "step", "curves": found}
