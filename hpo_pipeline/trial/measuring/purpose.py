"""What a model is measured for, which decides how long: nobody waits for a number to look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hpo_pipeline.experiment.formula import Constraint
from hpo_pipeline.experiment.prices import COST, ENERGY, Prices
from hpo_pipeline.experiment.verdict import Verdict, verdict
from hpo_pipeline.trial.measuring.sampling import (
    FEWEST,
    LEAST_SECONDS,
    Estimate,
    Plan,
    Processes,
)

LATENCIES = {"latency_p50_ms": 0.5, "latency_p90_ms": 0.9, "latency_p95_ms": 0.95}
UNREAD = Plan(width=0.1, seconds=0.15, longest=0.15)
"""Where nobody judges by the latency: no trial should wait long for a number to look at."""
READ = Plan(width=0.1, seconds=3.0, longest=10.0)
"""Where somebody does, and the model can only be timed in this process."""
JUDGED = Processes(least=5, most=12, each=0.7, width=0.1, seconds=5.0, longest=15.0)
QUOTED = replace(JUDGED, least=10, most=20, seconds=20.0, longest=30.0)
"""Where somebody does, and the model is the one to quote: once a run, and over a longer time, for
the speed of a machine that others share goes up and down."""
SHOWN = Processes(least=5, most=5, each=0.3, width=0.1, seconds=5.0, longest=10.0)
"""Where nobody judges by the latency of a model, but it is the one to quote."""
SHARE, LEAST_SHARE = 0.15, 0.2
"""Of the seconds of training, those of measuring at most, unless a constraint is undecided; and of
those of JUDGED at least, for a short training needs numbers, too."""
THROUGHPUT = Plan(width=0.1, seconds=0.5, longest=0.5)
# A batch takes so long that twenty of them were a good part of a short trial, while its
# neighbours stand still.
THROUGHPUT_UNREAD = Plan(width=0.1, seconds=0.1, longest=0.1, least=2, warm_up=1)


@dataclass(frozen=True)
class Purpose:
    """What a model is measured for: the more depends on its latency, the longer it is sampled.

    `metrics` are those that are known already, by which constraints are judged with the latency;
    the times of a model that `is_final` are quoted whoever reads them. `trained` are the seconds of
    training of which measuring may take a share; None where it takes what it needs.
    """

    reads: frozenset[str] = frozenset()
    constraints: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    prices: Prices | None = None
    is_final: bool = False
    trained: float | None = None

    @property
    def is_read(self) -> bool:
        """Whether something depends on a time."""
        return bool(self.reads & {*LATENCIES, "throughput_per_s", COST, ENERGY})

    @property
    def plan(self) -> Plan:
        """How long the latency is sampled."""
        return READ if self.reads & {*LATENCIES, COST, ENERGY} else UNREAD

    @property
    def processes(self) -> Processes | None:
        """In how many fresh processes it is sampled; None for this one alone."""
        if self.is_final:
            return QUOTED if self.is_read else SHOWN
        if not self.is_read:
            return None
        if self.trained is None:
            return JUDGED
        share = min(1.0, max(LEAST_SHARE, SHARE * self.trained / JUDGED.seconds))
        return replace(
            JUDGED,
            least=max(FEWEST, round(share * JUDGED.least)),
            each=max(LEAST_SECONDS, share * JUDGED.each),
            seconds=share * JUDGED.seconds,
            longest=share * JUDGED.longest,
        )

    def is_clear(self, found: Mapping[str, Estimate], size: float = 0.0) -> bool:
        """Return whether every constraint is met, or any is missed.

        Args:
            size: of the model, in megabytes.
        """
        values = {name: each.value for name, each in found.items()}
        metrics = {**self.metrics, "model_size_mb": size, **values}
        intervals = {name: (each.low, each.high) for name, each in found.items()}
        verdicts = {
            verdict(c, metrics, intervals)
            for c in self.constraints
            if Constraint(c).names <= set(metrics)
        }
        return Verdict.MISSED in verdicts or Verdict.UNDECIDED not in verdicts


NOBODY = Purpose()
"""Nothing depends on what is measured."""
