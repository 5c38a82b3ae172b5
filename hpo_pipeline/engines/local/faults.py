"""Faults that an experiment has on this machine only."""

from __future__ import annotations

from hpo_pipeline.experiment.algorithms.katib import StockSearch
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.stopping import StockStopping


def faults(experiment: Experiment) -> list[str]:
    """Return what keeps an experiment from running on this machine."""
    return [
        f"{section}.algorithm: katib:{chosen.name} is Katib's own; run it with --engine katib"
        for section in ("search", "stopping")
        if isinstance(chosen := getattr(experiment, section), StockSearch | StockStopping)
    ]
