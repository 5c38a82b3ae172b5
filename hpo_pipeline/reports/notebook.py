"""A run in a notebook: a table of the trials that is updated in place."""

from __future__ import annotations

import time
from collections.abc import Sequence
from html import escape
from importlib import import_module
from typing import Any

from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.reports import formatting
from hpo_pipeline.reports.terminal import progress_text
from hpo_pipeline.results.baseline import MARK, baseline_name
from hpo_pipeline.results.ranking import rank, winner
from hpo_pipeline.results.trial import Trial

UPDATE_SECONDS = 0.5
ROWS = 20
LINES = 5


class NotebookTable:
    """Shows the trials below a cell; one output, drawn anew at most twice a second."""

    def __init__(self, experiment: Experiment) -> None:
        ipython: Any = import_module("IPython.display")  # there in every notebook, untyped
        self._experiment = experiment
        self._html = ipython.HTML
        self._total = experiment.budget.trials
        self._trials: Sequence[Trial] = ()
        self._seconds, self._drawn = 0.0, 0.0
        self._lines: list[str] = []
        self._output = ipython.display(ipython.HTML(""), display_id=True)

    def started(self, total: int, parallel: int) -> None:
        """Note how many trials there will be."""
        self._total = total
        self._draw()

    def update(self, trials: Sequence[Trial], *, seconds: float) -> None:
        """Show the trials as they are."""
        self._trials, self._seconds = trials, seconds
        if time.monotonic() - self._drawn > UPDATE_SECONDS:
            self._draw()

    def say(self, line: str) -> None:
        """Show a line above the table; the last few stay."""
        self._lines = [*self._lines, line][-LINES:]
        self._draw()

    def close(self) -> None:
        """Show the last state."""
        self._draw()

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        said = "".join(f"<div>{escape(line)}</div>" for line in self._lines)
        foot = (
            f"{progress_text.done(self._trials)} of {self._total} trials done; "
            f"{progress_text.best(self._experiment, winner(self._experiment, self._trials))}; "
            f"{formatting.duration(self._seconds)}"
        )
        table = leaderboard_html(self._experiment, self._trials)
        self._output.update(self._html(f"{said}{table}<div>{escape(foot)}</div>"))


def leaderboard_html(experiment: Experiment, trials: Sequence[Trial]) -> str:
    """Return the first trials as an HTML table: running ones, then the best, then the others."""
    ranked = rank(experiment, trials)
    places = {trial.name: place for place, trial in enumerate(ranked, start=1)}
    baseline = baseline_name(experiment, trials)
    running = [trial for trial in trials if not trial.state.is_final]
    over = [trial for trial in trials if trial.state.is_final and trial.name not in places]
    head = ["", "trial", "state", *(o.name for o in experiment.objective), *experiment.space]
    rows = [
        [
            str(places.get(trial.name, "")),
            trial.name + MARK * (trial.name == baseline),
            trial.state.value,
            *_objectives(experiment, trial),
            *(
                formatting.value(trial.assignments[name]) if name in trial.assignments else ""
                for name in experiment.space
            ),
        ]
        for trial in [*running, *ranked, *over][:ROWS]
    ]
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    left = len(trials) - ROWS
    more = f"<div>and {left} more trials</div>" if left > 0 else ""
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table>{more}"


def _objectives(experiment: Experiment, trial: Trial) -> list[str]:
    metrics = trial.metrics or (trial.curve[-1].metrics if trial.curve else {})
    values = [objective.value(metrics) for objective in experiment.objective]
    return [formatting.number(value) if value == value else "" for value in values]
