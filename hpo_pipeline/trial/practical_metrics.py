"""The practical metrics: what a deployment of the finished model pays for.

Measured in evaluation mode, without gradients, on real validation rows, after warm-up. Latency
and throughput are of the model's forward pass; tokenisation, the network and a server come on
top. Numbers of trials that run side by side include what they take from each other, so the
winner is measured again, alone.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

WARM_UP = 5
SAMPLES = 60
MIN_SAMPLES = 20
LATENCY_BUDGET = 2.0  # seconds; slow models are measured on MIN_SAMPLES rows at least
BATCH = 32
THROUGHPUT_BUDGET = 0.5

Collate = Callable[[list[dict[str, Any]]], dict[str, Any]]


def measure_model(model: Any, rows: Sequence[dict[str, Any]], collate: Collate) -> dict[str, float]:
    """Return latency (ms), throughput (1/s), parameters (millions) of a model where it stands.

    Args:
        model: a model of transformers; its mode is left as it was.
        rows: rows of the dataset, at least one.
        collate: makes a batch of rows.
    """
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            return {
                **_latency(model, rows, collate),
                "throughput_per_s": _throughput(model, rows, collate),
                "parameters_m": sum(p.numel() for p in model.parameters()) / 1e6,
                "model_size_mb": _tensor_bytes(model) / 1e6,
            }
    finally:
        model.train(was_training)


def saved_size_mb(folder: Path) -> float:
    """Return the megabytes of the weights in a model folder."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors")) / 1e6


def peak_memory_mb() -> float:
    """Return the highest memory in megabytes: of the GPU where there is one, else the process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def _latency(model: Any, rows: Sequence[dict[str, Any]], collate: Collate) -> dict[str, float]:
    # Rows are sorted by length: taking every n-th gives them all lengths.
    stride = max(1, len(rows) // SAMPLES)
    picked = list(rows)[::stride][:SAMPLES]
    while len(picked) < MIN_SAMPLES:
        picked = picked * 2
    batches = [_inputs(model, [row], collate) for row in picked]
    for batch in batches[:WARM_UP]:
        _forward(model, batch)
    times: list[float] = []
    end = time.perf_counter() + LATENCY_BUDGET
    for batch in batches:
        if len(times) >= MIN_SAMPLES and time.perf_counter() > end:
            break
        times.append(_forward(model, batch) * 1e3)
    p95 = statistics.quantiles(times, n=20, method="inclusive")[-1]
    return {"latency_p50_ms": statistics.median(times), "latency_p95_ms": p95}


def _throughput(model: Any, rows: Sequence[dict[str, Any]], collate: Collate) -> float:
    stride = max(1, len(rows) // BATCH)
    picked = list(rows)[::stride][:BATCH]
    picked = (picked * (BATCH // len(picked) + 1))[:BATCH]
    batch = _inputs(model, picked, collate)
    _forward(model, batch)
    seconds, done = 0.0, 0
    while seconds < THROUGHPUT_BUDGET and done < 10 * BATCH:
        seconds += _forward(model, batch)
        done += BATCH
    return done / seconds


def _inputs(model: Any, rows: list[dict[str, Any]], collate: Collate) -> dict[str, Any]:
    batch = collate(rows)
    return {k: v.to(model.device) for k, v in batch.items() if k != "labels"}


def _forward(model: Any, batch: dict[str, Any]) -> float:
    """Return the seconds of one forward pass."""
    start = time.perf_counter()
    model(**batch)
    if model.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _tensor_bytes(model: Any) -> int:
    return sum(t.numel() * t.element_size() for t in model.state_dict().values())
