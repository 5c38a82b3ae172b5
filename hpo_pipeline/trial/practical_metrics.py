"""Measuring the practical metrics: what a deployment of the finished model pays for.

Measured in evaluation mode, without gradients, on real validation rows, after warm-up. Latency and
throughput are of the model's forward pass; tokenisation, the network and a server come on top.
Trials that run side by side slow each other down, so the winner is measured again, alone.
"""

from __future__ import annotations

import importlib
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from hpo_pipeline.errors import TrialError
from hpo_pipeline.experiment.metrics import PRACTICAL_METRICS
from hpo_pipeline.experiment.serve import PLAIN, Serve
from hpo_pipeline.tasks.kind import Collate, Metric, Row
from hpo_pipeline.trial.artefact.build import Artefact

WARM_UP = 5
SAMPLES = 60
MIN_SAMPLES = 20
LATENCY_BUDGET = 2.0  # seconds; slow models are measured on at least MIN_SAMPLES rows
BATCH = 32
Forward = Callable[[Any, dict[str, Any]], Any]
"""Runs a model on a batch, as a deployment would."""
THROUGHPUT_BUDGET = 0.5


def forward_whole(model: Any, batch: dict[str, Any]) -> Any:
    """Run a model on a whole batch."""
    return model(**batch)


def _no_batch(rows: list[Row]) -> dict[str, Any]:
    raise AssertionError("unreachable: without rows there is no batch")


@dataclass
class Finished:
    """A model that can be measured; what several metrics need is measured once.

    Attributes:
        model: a model of transformers, on its device; None where only its files are known.
        rows: rows of the dataset; speed is measured where there is one.
        collate: makes a batch of rows.
        folder: where the model is saved, or None before it is.
        train_seconds: returns the seconds of training so far, or None where that is not known.
        forward: what latency and throughput are measured on.
        served: the artefact that `forward` runs; None runs the model itself.
        serve: threads and rows of a request.
    """

    model: Any
    rows: Sequence[Row] = ()
    collate: Collate = _no_batch
    folder: Path | None = None
    train_seconds: Callable[[], float] | None = None
    forward: Forward = forward_whole
    served: Artefact | None = None
    serve: Serve = PLAIN

    @cached_property
    def forward_ms(self) -> list[float]:
        """Milliseconds of forward passes of `serve.batch` rows each."""
        # Rows are sorted by length: taking every n-th covers all lengths.
        stride = max(1, len(self.rows) // SAMPLES)
        picked = list(self.rows)[::stride][:SAMPLES]
        while len(picked) < MIN_SAMPLES:
            picked = picked * 2
        size = self.serve.batch
        batches = [self._inputs([row] * size) for row in picked]
        for batch in batches[:WARM_UP]:
            self._seconds(batch)
        times: list[float] = []
        end = time.perf_counter() + LATENCY_BUDGET
        for batch in batches:
            if len(times) >= MIN_SAMPLES and time.perf_counter() > end:
                break
            times.append(self._seconds(batch) * 1e3)
        return times

    @cached_property
    def rows_per_s(self) -> float:
        """Rows per second in batches of BATCH."""
        stride = max(1, len(self.rows) // BATCH)
        picked = list(self.rows)[::stride][:BATCH]
        batch = self._inputs((picked * (BATCH // len(picked) + 1))[:BATCH])
        self._seconds(batch)
        seconds, done = 0.0, 0
        while seconds < THROUGHPUT_BUDGET and done < 10 * BATCH:
            seconds += self._seconds(batch)
            done += BATCH
        return done / seconds

    def _inputs(self, rows: list[Row]) -> dict[str, Any]:
        batch = self.collate(rows)
        return {k: v.to(self.device) for k, v in batch.items() if k != "labels"}

    @property
    def _runner(self) -> Any:
        return self.served.model if self.served is not None else self.model

    @cached_property
    def device(self) -> torch.device:
        """Where the model is that runs."""
        runner = self._runner
        own = getattr(runner, "device", None)  # a plain torch module has none
        found: torch.device = own if own is not None else next(runner.parameters()).device
        return found

    def _seconds(self, batch: dict[str, Any]) -> float:
        """Return the seconds of one forward pass."""
        start = time.perf_counter()
        self.forward(self._runner, batch)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start


def measure(
    finished: Finished, metrics: Mapping[str, Metric] = PRACTICAL_METRICS
) -> dict[str, float]:
    """Return the practical metrics that a model has; the model's mode is left as it was.

    Raises:
        TrialError: a row of the table names no function.
    """
    model, threads = finished.model, torch.get_num_threads()
    was_training = model is not None and model.training
    if model is not None:
        model.eval()
    torch.set_num_threads(finished.serve.threads or threads)
    try:
        with torch.inference_mode():
            values = {name: _measure_of(name, row)(finished) for name, row in metrics.items()}
    finally:
        if model is not None:
            model.train(was_training)
        torch.set_num_threads(threads)
    return {name: float(value) for name, value in values.items() if value is not None}


def latency_p50_ms(finished: Finished) -> float | None:
    """Return the median milliseconds of a forward pass."""
    return statistics.median(finished.forward_ms) if finished.rows else None


def latency_p95_ms(finished: Finished) -> float | None:
    """Return the 95th percentile of the milliseconds of a forward pass."""
    if not finished.rows:
        return None
    return statistics.quantiles(finished.forward_ms, n=20, method="inclusive")[-1]


def throughput_per_s(finished: Finished) -> float | None:
    """Return the examples per second."""
    return finished.rows_per_s if finished.rows else None


def model_size_mb(finished: Finished) -> float:
    """Return the megabytes of what is served, or of the tensors before they are saved."""
    if finished.served is not None:
        return finished.served.size_mb
    if finished.folder is None:
        tensors = finished.model.state_dict().values()
        return float(sum(t.numel() * t.element_size() for t in tensors)) / 1e6
    return sum(file.stat().st_size for file in finished.folder.glob("*.safetensors")) / 1e6


def parameters_m(finished: Finished) -> float | None:
    """Return the millions of parameters."""
    if finished.model is None:
        return None
    return float(sum(p.numel() for p in finished.model.parameters())) / 1e6


def peak_memory_mb(finished: Finished) -> float:
    """Return the highest memory in megabytes: of the GPU where there is one, else the process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def train_seconds(finished: Finished) -> float | None:
    """Return the seconds of training."""
    return finished.train_seconds() if finished.train_seconds else None


def _measure_of(name: str, row: Metric) -> Callable[[Finished], float | None]:
    module, _, function = row.measure.partition(":")
    try:
        found: Callable[[Finished], float | None] = getattr(
            importlib.import_module(module), function
        )
    except (ImportError, AttributeError, ValueError) as error:
        raise TrialError(f"the metric {name} names no function: {row.measure!r}") from error
    return found
