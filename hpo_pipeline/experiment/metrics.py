"""The practical metrics: a row each for what a deployment of the finished model pays for.

A new one is a row here and the function it names. The quality metrics belong to the kinds of
task (tasks/).
"""

from __future__ import annotations

from collections.abc import Mapping

from hpo_pipeline.tasks.kind import Metric

Metrics = Mapping[str, float]


SCORE = "score"
"""Name under which the value of a formula is reported."""


_MEASURES = "hpo_pipeline.trial.measuring.practical_metrics"

PRACTICAL_METRICS: dict[str, Metric] = {
    "latency_p50_ms": Metric(
        "median time of one forward pass, of one row unless serve.batch says more",
        better="lower",
        unit="ms",
        measure=f"{_MEASURES}:latency_p50_ms",
    ),
    "latency_p90_ms": Metric(
        "90th percentile of the time of one forward pass",
        better="lower",
        unit="ms",
        measure=f"{_MEASURES}:latency_p90_ms",
    ),
    "latency_p95_ms": Metric(
        "95th percentile of the time of one forward pass",
        better="lower",
        unit="ms",
        measure=f"{_MEASURES}:latency_p95_ms",
    ),
    "throughput_per_s": Metric(
        "examples per second at batch size 32",
        better="higher",
        unit="1/s",
        measure=f"{_MEASURES}:throughput_per_s",
    ),
    "model_size_mb": Metric(
        "size of the saved weights",
        better="lower",
        unit="MB",
        measure=f"{_MEASURES}:model_size_mb",
    ),
    "parameters_m": Metric(
        "parameters of the model",
        better="lower",
        unit="millions",
        measure=f"{_MEASURES}:parameters_m",
    ),
    "peak_memory_mb": Metric(
        "highest memory of the trial: of the GPU where there is one, else of the process",
        better="lower",
        unit="MB",
        measure=f"{_MEASURES}:peak_memory_mb",
    ),
    "cost_per_million": Metric(
        "price of a million predictions as they are served, one request after the other; without "
        "`prices` it is left out",
        better="lower",
        measure=f"{_MEASURES}:cost_per_million",
    ),
    "energy_j": Metric(
        "energy of a thousand predictions: of the GPU that runs the model, else of the processors, "
        "idle power included; left out where no counter can be read",
        better="lower",
        unit="J",
        measure=f"{_MEASURES}:energy_j",
    ),
    "train_seconds": Metric(
        "time spent in training steps, without evaluation",
        better="lower",
        unit="s",
        measure=f"{_MEASURES}:train_seconds",
    ),
}
"""Metrics that every trial and every evaluation of a finished model reports, but for `OPTIONAL`.

`measure` names a function of a `trial.practical_metrics.Finished`, which returns the value, or None
where it has none: `train_seconds` of a model that was trained long ago.
"""
OPTIONAL = ("cost_per_million", "energy_j")
"""What depends on the section `prices`, or on the machine."""
