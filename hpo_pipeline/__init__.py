"""Hyperparameter optimisation of transformers by practical metrics, on this machine or on Katib.

The public names are those of `__all__`; each is loaded when it is first used, so that the import
itself costs nothing.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpo_pipeline.engines.interruption import Interrupted
    from hpo_pipeline.errors import DataError, ExperimentError, HpoError
    from hpo_pipeline.experiment.building import Experiment
    from hpo_pipeline.experiment.loading import load
    from hpo_pipeline.flow.python_api import Run, check, open_run, run
    from hpo_pipeline.results.outcome import SearchResult
    from hpo_pipeline.results.trial import Trial
    from hpo_pipeline.trial.session import assignments, is_best, report, seed, trial_folder

# gRPC reads it when it starts. Its handlers wait for threads that a forked process does not have,
# and hang where that one forks again (trial/measuring/fresh_processes.py); no process of ours
# inherits a live channel.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

__version__ = "0.1.0"
__all__ = [
    "DataError",
    "Experiment",
    "ExperimentError",
    "HpoError",
    "Interrupted",
    "Run",
    "SearchResult",
    "Trial",
    "__version__",
    "assignments",
    "check",
    "is_best",
    "load",
    "open_run",
    "report",
    "run",
    "seed",
    "trial_folder",
]

_MODULES = {
    "DataError": "errors",
    "Experiment": "experiment.building",
    "ExperimentError": "errors",
    "HpoError": "errors",
    "Interrupted": "engines.interruption",
    "Run": "flow.python_api",
    "SearchResult": "results.outcome",
    "Trial": "results.trial",
    "assignments": "trial.session",
    "check": "flow.python_api",
    "is_best": "trial.session",
    "load": "experiment.loading",
    "open_run": "flow.python_api",
    "report": "trial.session",
    "run": "flow.python_api",
    "seed": "trial.session",
    "trial_folder": "trial.session",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
