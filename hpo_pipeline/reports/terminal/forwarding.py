"""A progress that hands everything on to another one: the base of those that also look at it."""

from __future__ import annotations

from collections.abc import Sequence

from hpo_pipeline.reports.terminal import Progress
from hpo_pipeline.results.trial import Trial


class ForwardingProgress:
    """Hands everything on to another progress."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def started(self, total: int, parallel: int) -> None:
        self._progress.started(total, parallel)

    def update(self, trials: Sequence[Trial], *, seconds: float) -> None:
        self._progress.update(trials, seconds=seconds)

    def say(self, line: str) -> None:
        self._progress.say(line)

    def close(self) -> None:
        self._progress.close()
