"""The display on a terminal: a table of the trials that is redrawn in place.

A thread of rich redraws it four times a second whatever the engine does, so the clock runs on
while nothing happens. Where the trials outgrow the terminal, those that run, the best and the
latest are shown, with the number of the others.
"""

from __future__ import annotations

import atexit
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.reports import formatting
from hpo_pipeline.reports.terminal import progress_text
from hpo_pipeline.reports.terminal.leaderboard import STATE_STYLES, cut
from hpo_pipeline.reports.terminal.trial_clock import TrialClock
from hpo_pipeline.results.leaders import Leaders
from hpo_pipeline.results.trial import Trial, TrialState

REDRAWS_PER_SECOND = 4
BEST_SHOWN = 5
LINES_AROUND = 7
"""Head of the table, the line about others, a footer of up to three lines, and the prompt."""


@dataclass(frozen=True)
class _Snapshot:
    """What the drawing thread reads; replaced as a whole, hence no lock."""

    trials: tuple[Trial, ...]
    seconds: float
    taken: float
    best: tuple[Trial, ...] = ()
    leader: Trial | None = None


class LiveTable:
    """Shows the trials until `close`, after which the last table stays on the screen."""

    def __init__(
        self,
        experiment: Experiment,
        stream: TextIO,
        *,
        clock: Callable[[], float] = time.monotonic,
        console: Console | None = None,
    ) -> None:
        self._experiment = experiment
        self._clock = clock
        self._console = console or Console(file=stream, highlight=False)
        self._total = experiment.budget.trials
        self._snapshot = _Snapshot((), 0.0, clock())
        self._leaders = Leaders(experiment, BEST_SHOWN)
        self._counted: set[str] = set()
        self._trial_clock = TrialClock(experiment)
        self._live: Live | None = None

    def started(self, total: int, parallel: int) -> None:
        self._total = total
        if self._live is not None:
            return
        self._snapshot = _Snapshot((), 0.0, self._clock())
        self._live = Live(
            get_renderable=self._draw,
            console=self._console,
            refresh_per_second=REDRAWS_PER_SECOND,
        )
        atexit.register(self.close)  # an exit that passes by `close` would hide the cursor
        self._live.start()

    def update(self, trials: Sequence[Trial], *, seconds: float) -> None:
        now = self._clock()
        self._trial_clock.note(trials, now)
        for trial in trials:
            if trial.state.is_final and trial.name not in self._counted:
                self._counted.add(trial.name)
                self._leaders.add(trial)
        best, leader = tuple(self._leaders.first()), self._leaders.winner()
        self._snapshot = _Snapshot(tuple(trials), seconds, now, best, leader)

    def say(self, line: str) -> None:
        self._console.print(Text(line))

    def close(self) -> None:
        if self._live is not None and self._live.is_started:
            self._live.stop()
            atexit.unregister(self.close)

    def _draw(self) -> RenderableType:
        snapshot = self._snapshot
        height = max(3, self._console.size.height - LINES_AROUND)
        shown = select_rows(snapshot.trials, snapshot.best, height=height)
        parts: list[RenderableType] = [self._table(shown, snapshot.leader)]
        hidden = len(snapshot.trials) - len(shown)
        if hidden:
            parts.append(Text(f"{hidden} more", "dim"))
        passed = self._clock() - snapshot.taken
        parts.append(self._footer(snapshot, snapshot.seconds + passed))
        return Group(*parts)

    def _table(self, shown: Sequence[Trial], leader: Trial | None) -> Table:
        experiment = self._experiment
        now = self._clock()
        names = " · ".join(objective.name for objective in experiment.objective)
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("trial", "state"):
            table.add_column(name, no_wrap=True)
        for name in ("progress", f"{names} now", "best"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("assignments, reason")
        for trial in shown:
            is_best = leader is not None and trial.name == leader.name
            table.add_row(
                Text(trial.name + " ★" * is_best),
                Text(trial.state.value, STATE_STYLES[trial.state]),
                self._trial_clock.words(trial, now),
                progress_text.now(experiment, trial),
                progress_text.best_of(experiment, trial),
                cut(_details(trial)),
                style="bold" if is_best else None,
            )
        return table

    def _footer(self, snapshot: _Snapshot, seconds: float) -> Text:
        trials = snapshot.trials
        over, counts = progress_text.done(trials), progress_text.counts(trials)
        left = progress_text.remaining(self._experiment, trials, total=self._total, seconds=seconds)
        parts = [
            f"{over} of {self._total} done" + f" ({counts})" * bool(counts),
            progress_text.best(self._experiment, snapshot.leader),
            formatting.duration(seconds)
            + f", {formatting.duration(left)} left" * (over < self._total),
        ]
        return Text("; ".join(parts))


def select_rows(trials: Sequence[Trial], best: Sequence[Trial], *, height: int) -> list[Trial]:
    """Return the trials that are shown, in their order: all, or those that matter most."""
    if len(trials) <= height:
        return list(trials)
    running = [trial for trial in trials if trial.state is TrialState.RUNNING]
    latest = [trial for trial in reversed(trials) if trial.state.is_final]
    wanted = [*running, *best, *latest]
    names = set(list(dict.fromkeys(trial.name for trial in wanted))[:height])
    return [trial for trial in trials if trial.name in names]


def _details(trial: Trial) -> Text:
    values = formatting.assignments(trial.assignments)
    if trial.reason and trial.state in (TrialState.STOPPED, TrialState.FAILED):
        return Text.assemble((trial.reason, STATE_STYLES[trial.state]), "  ", (values, "dim"))
    return Text(values)
