"""A progress that shows nothing, for scripts that print for themselves."""

from __future__ import annotations

from collections.abc import Sequence

from hpo_pipeline.results.trial import Trial


class Silence:
    """Shows nothing."""

    def started(self, total: int, parallel: int) -> None:
        """Show nothing."""

    def update(self, trials: Sequence[Trial], *, seconds: float) -> None:
        """Show nothing."""

    def say(self, line: str) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Show nothing."""
