"""Where experiments run: this machine (local*.py) or a cluster (katib*.py, cluster_site.py).

A site is what the stages of a run (flow.py) know of either.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from hpo_pipeline.results.trial import Trial

if TYPE_CHECKING:
    from hpo_pipeline.engines.interruption import Interruption
    from hpo_pipeline.results.confirmation import Replicate
    from hpo_pipeline.results.outcome import GateResult, RegistrationResult, SearchFacts, Selected


@dataclass(frozen=True)
class Searched:
    """What a search came to: `ended` says why it ended before its last trial, if it did."""

    trials: tuple[Trial, ...]
    ended: str | None = None
    is_failed: bool = False
    seconds: float | None = None


class Engine(Protocol):
    """Where an experiment searches, trains again, measures and registers.

    Every method finds what was done before and goes on with it. All raise Interrupted by Ctrl-C
    or SIGTERM, and BackendError where they cannot go on.
    """

    def earlier(self, name: str) -> Sequence[Trial] | None:
        """Return the trials of the last run of an experiment here, or None where there is none."""

    def search(self, earlier: Sequence[Trial], interruption: Interruption) -> Searched:
        """Run the trials of the experiment, or go on with them."""

    def train(
        self, runs: Sequence[Replicate], needed: Needed, interruption: Interruption
    ) -> Sequence[Trial]:
        """Train configurations with seeds of their own."""

    def has_model(self, chosen: Selected) -> bool:
        """Tell whether the model of a winner is still there."""

    def model_uri(self) -> str:
        """Return where the winner's model will lie."""

    def gate(self, chosen: Selected, told: SearchFacts, interruption: Interruption) -> GateResult:
        """Measure a winner on the test rows, and the champion beside it."""

    def register(
        self, chosen: Selected, told: SearchFacts, interruption: Interruption
    ) -> RegistrationResult:
        """Register a winner."""


Needed = Callable[[Collection[Trial]], Collection[str]]
"""The names of the runs whose models are still needed, given those that have ended."""
