"""What a person sees while a search runs: a live table on a terminal, plain lines elsewhere.

The engine reports all trials at each change and knows nothing of how they are shown. Call
`close` in any case: the live table hides the cursor. rich is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TextIO

from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.reports.terminal.leaderboard import leaderboard
from hpo_pipeline.reports.terminal.plain_lines import PlainLines
from hpo_pipeline.results.trial import Trial

__all__ = ["PlainLines", "Progress", "leaderboard", "open_progress"]


class Progress(Protocol):
    """Shows a search; `started` comes before the first `update`."""

    def started(self, total: int, parallel: int) -> None:
        """Say how many trials there will be, and how many at a time."""

    def update(self, trials: Sequence[Trial], *, seconds: float) -> None:
        """Show all trials known, the running ones with their curve so far."""

    def say(self, line: str) -> None:
        """Show a line about something else than a trial."""

    def close(self) -> None:
        """Leave the terminal as it was; may be called twice."""


def open_progress(experiment: Experiment, stream: TextIO, *, live: bool) -> Progress:
    """Return the live table or the plain lines, which write to the stream."""
    if not live:
        return PlainLines(experiment, stream)
    from hpo_pipeline.reports.terminal.live_table import LiveTable

    return LiveTable(experiment, stream)
