"""A trained model in the form in which it is served, measured: one variant of a trial."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpo_pipeline.experiment.objective import with_score
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.serve import Serve
from hpo_pipeline.results.trial import Variant
from hpo_pipeline.trial.measuring.purpose import Purpose
from hpo_pipeline.trial.reporting import tracing
from hpo_pipeline.trial.training.building import Built


@dataclass
class Clock:
    """Wall seconds by phase."""

    seconds: dict[str, float] = field(default_factory=dict)
    last: float = field(default_factory=time.perf_counter)

    def lap(self, phase: str) -> None:
        """Add the time since the last lap to a phase."""
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self.last
        tracing.phase(phase, now - self.last)
        self.last = now


@dataclass(frozen=True)
class Trained:
    """A finished model, saved in a folder, with the metrics of its best evaluation."""

    built: Built
    model: Any
    folder: Path
    metrics: dict[str, float]


def as_served(
    experiment: Experiment, trained: Trained, serve: Serve, clock: Clock, *, trained_s: float
) -> Variant:
    """Make an artefact of a finished model in its folder, and measure it.

    Args:
        trained_s: seconds of its training, of which measuring this artefact takes a share.
    """
    served, quality = trained.built.serve(serve, trained.model, trained.folder)
    clock.lap("export")
    known = {**trained.metrics, **quality}
    measured = trained.built.practical.final(
        trained.model,
        trained.folder,
        clock.seconds["train"],
        purpose=Purpose(
            experiment.reads,
            experiment.constraints,
            known,
            experiment.prices,
            trained=trained_s,
        ),
        served=served,
        serve=serve,
    )
    clock.lap("measure")
    metrics = with_score({**known, **measured.metrics}, experiment.objective)
    return Variant(
        serve.title, metrics, measured.intervals, measured.interrupted, measured.processes
    )
