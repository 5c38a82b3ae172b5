"""Faults that an experiment has on this machine only."""

from __future__ import annotations

from importlib.util import find_spec

from hpo_pipeline.experiment.algorithms.katib import StockSearch
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.stopping import StockStopping

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def faults(experiment: Experiment) -> list[str]:
    """Return what keeps an experiment from running on this machine."""
    return _stock_faults(experiment) + _package_faults(experiment)


def _stock_faults(experiment: Experiment) -> list[str]:
    return [
        f"{section}.algorithm: katib:{chosen.name} is Katib's own; run it with --engine katib"
        for section in ("search", "stopping")
        if isinstance(chosen := getattr(experiment, section), StockSearch | StockStopping)
    ]


def _package_faults(experiment: Experiment) -> list[str]:
    """Return packages that are missing for what every trial makes."""
    missing = [name for name in ONNX_PACKAGES if find_spec(name) is None]
    if not missing or not any(way.format == "onnx" for way in experiment.serve.variants):
        return []
    return [
        f"serve.format: onnx needs the packages of the extra `serve`, and {', '.join(missing)} "
        f"cannot be imported: pip install 'hpo-pipeline[serve]'"
    ]
