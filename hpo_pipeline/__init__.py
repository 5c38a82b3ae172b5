"""Hyperparameter optimisation of transformers by practical metrics, on this machine or on Katib."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpo_pipeline.errors import HpoError
    from hpo_pipeline.experiment.loading import load
    from hpo_pipeline.experiment.schema import Experiment
    from hpo_pipeline.results.outcome import SearchResult
    from hpo_pipeline.results.trial import Trial

__version__ = "0.1.0"
__all__ = ["Experiment", "HpoError", "SearchResult", "Trial", "__version__", "load"]

_HOME = {
    "Experiment": "experiment.schema",
    "HpoError": "errors",
    "SearchResult": "results.outcome",
    "Trial": "results.trial",
    "load": "experiment.loading",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that the import itself costs nothing."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
