"""The names of metrics: what each kind of task and each finished model can report."""

from __future__ import annotations

from collections.abc import Mapping

Metrics = Mapping[str, float]


SCORE = "score"
"""Name under which the value of a formula is reported."""


PRACTICAL_METRICS: dict[str, str] = {
    "latency_p50_ms": "median milliseconds of one forward pass at batch size 1",
    "latency_p95_ms": "95th percentile of the milliseconds of one forward pass at batch size 1",
    "throughput_per_s": "examples a second at batch size 32",
    "model_size_mb": "megabytes (10^6 bytes) of the saved weights",
    "parameters_m": "millions of parameters",
    "peak_memory_mb": "highest memory of the trial in megabytes: GPU memory where there is one",
    "train_seconds": "seconds spent in training steps, evaluation left out",
}


_CLASSIFICATION = {
    "loss": "mean cross-entropy",
    "accuracy": "share of examples that are right",
    "precision": "of the positive (last) class of two, macro mean of more",
    "recall": "of the positive (last) class of two, macro mean of more",
    "f1": "of the positive (last) class of two, macro mean of more",
    **{
        f"{name}_{mean}": f"{name}, {mean} mean over the classes"
        for name in ("precision", "recall", "f1")
        for mean in ("macro", "weighted")
    },
}


QUALITY_METRICS: dict[str, dict[str, str]] = {
    "text-classification": _CLASSIFICATION,
    "image-classification": _CLASSIFICATION,
}


LOWER_IS_BETTER = frozenset(
    {"loss", "latency_p50_ms", "latency_p95_ms", "model_size_mb", "parameters_m"}
    | {"peak_memory_mb", "train_seconds"}
)
