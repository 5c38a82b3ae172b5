"""Measuring the practical metrics: what a deployment of the finished model pays for.

Measured in evaluation mode, without gradients, on real rows in random order, after warm-up, each
time with its interval (sampling.py). Latency and throughput are of the model's forward pass;
tokenisation, the network and a server come on top.
"""

from __future__ import annotations

import importlib
import random
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hpo_pipeline.errors import TrialError
from hpo_pipeline.experiment.formula import Constraint
from hpo_pipeline.experiment.metrics import PRACTICAL_METRICS
from hpo_pipeline.experiment.prices import COST, ENERGY, Prices
from hpo_pipeline.experiment.serve import PLAIN, Serve
from hpo_pipeline.experiment.verdict import Interval, Verdict, verdict
from hpo_pipeline.tasks.kind import Collate, Metric, Row
from hpo_pipeline.trial.artefact.build import Artefact
from hpo_pipeline.trial.energy import open_meter
from hpo_pipeline.trial.requests import requests
from hpo_pipeline.trial.sampling import Estimate, Plan, quantile, sample

LATENCIES = {"latency_p50_ms": 0.5, "latency_p90_ms": 0.9, "latency_p95_ms": 0.95}
UNREAD = Plan(width=0.1, seconds=0.5, longest=0.5)
"""Where nobody judges by the latency: no trial should wait long for a number to look at."""
READ = Plan(width=0.1, seconds=3.0, longest=10.0)
REQUESTS, REQUEST_ROWS = 256, 2048
"""How many are different, and of how many rows together; they are made before the clock runs."""
BATCH = 32
THROUGHPUT = Plan(width=0.1, seconds=0.5, longest=0.5)
# A batch takes so long that twenty of them were a good part of a short trial, while its
# neighbours stand still; six are the least whose extremes hold the median in 95 of 100 cases.
THROUGHPUT_UNREAD = Plan(width=0.1, seconds=0.5, longest=0.5, least=6, warm_up=2)
Forward = Callable[[Any, dict[str, Any]], Any]
"""Runs a model on a batch, as a deployment would."""


def forward_whole(model: Any, batch: dict[str, Any]) -> Any:
    """Run a model on a whole batch."""
    return model(**batch)


def _no_batch(rows: list[Row]) -> dict[str, Any]:
    raise AssertionError("unreachable: without rows there is no batch")


@dataclass(frozen=True)
class Purpose:
    """What a model is measured for: the more depends on its latency, the longer it is sampled.

    `metrics` are those that are known already, by which constraints are judged with the latency.
    """

    reads: frozenset[str] = frozenset()
    constraints: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    prices: Prices | None = None

    @property
    def plan(self) -> Plan:
        """How long the latency is sampled."""
        return READ if self.reads & {*LATENCIES, COST, ENERGY} else UNREAD

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


@dataclass(frozen=True)
class Measured:
    """Practical metrics, and the 95 % intervals of those that were sampled.

    `interrupted` is how often the system took the processor away, for each pass that was timed: on
    a quiet machine next to never.
    """

    metrics: dict[str, float]
    intervals: dict[str, Interval]
    interrupted: float = 0.0


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
        serve: threads, rows and lengths of a request.
        purpose: what depends on the latency.
        interrupted: how often the processor was taken away, for each pass, once there are times.
        joules: what a row took, once there are times; None where no counter can be read.
    """

    model: Any
    rows: Sequence[Row] = ()
    collate: Collate = _no_batch
    folder: Path | None = None
    train_seconds: Callable[[], float] | None = None
    forward: Forward = forward_whole
    served: Artefact | None = None
    serve: Serve = PLAIN
    purpose: Purpose = Purpose()
    interrupted: float = 0.0
    joules: float | None = None

    @cached_property
    def forward_ms(self) -> list[float]:
        """Milliseconds of forward passes of `serve.batch` rows each."""
        count = max(1, min(REQUESTS, REQUEST_ROWS // self.serve.batch))
        batches = self._batches(count, self.serve.batch, self.serve.lengths)
        passes = 0

        def timed(i: int) -> float:
            nonlocal passes
            passes += 1  # those of the warm-up use energy, too
            return self._seconds(batches[i % len(batches)]) * 1e3

        before, meter = _interruptions(), open_meter(self.device)
        times = sample(
            timed,
            self.purpose.plan,
            LATENCIES,
            partial(self.purpose.is_clear, size=model_size_mb(self)),
        )
        self.interrupted = (_interruptions() - before) / len(times)
        if meter is not None and passes:
            self.joules = meter.joules() / (passes * self.serve.batch)
        return times

    @cached_property
    def batch_seconds(self) -> list[float]:
        """Seconds of forward passes of BATCH rows."""
        (batch,) = self._batches(1, BATCH, None)
        shares = {"throughput_per_s": 0.5}
        is_read = "throughput_per_s" in self.purpose.reads
        plan = THROUGHPUT if is_read else THROUGHPUT_UNREAD
        return sample(lambda i: self._seconds(batch), plan, shares, lambda found: True)

    def _batches(
        self, count: int, size: int, lengths: tuple[int, int] | None
    ) -> list[dict[str, Any]]:
        made = requests(self.rows, count=count, size=size, lengths=lengths, rng=random.Random(0))
        return [self._inputs(rows) for rows in made]

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


def measure(finished: Finished, metrics: Mapping[str, Metric] = PRACTICAL_METRICS) -> Measured:
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
            found = {name: _measure_of(name, row)(finished) for name, row in metrics.items()}
    finally:
        if model is not None:
            model.train(was_training)
        torch.set_num_threads(threads)
    sampled = {n: value for n, value in found.items() if isinstance(value, Estimate)}
    plain = {n: v.value if isinstance(v, Estimate) else v for n, v in found.items()}
    return Measured(
        {name: float(value) for name, value in plain.items() if value is not None},
        {name: (each.low, each.high) for name, each in sampled.items()},
        finished.interrupted,
    )


def latency_p50_ms(finished: Finished) -> Estimate | None:
    """Return the median milliseconds of a forward pass."""
    return _latency(finished, "latency_p50_ms")


def latency_p90_ms(finished: Finished) -> Estimate | None:
    """Return the 90th percentile of the milliseconds of a forward pass."""
    return _latency(finished, "latency_p90_ms")


def latency_p95_ms(finished: Finished) -> Estimate | None:
    """Return the 95th percentile of the milliseconds of a forward pass."""
    return _latency(finished, "latency_p95_ms")


def throughput_per_s(finished: Finished) -> Estimate | None:
    """Return the examples per second, at the median time of a batch."""
    if not finished.rows:
        return None
    found = quantile(finished.batch_seconds, 0.5)
    slowest = 0.0 if found.high is None else BATCH / found.high
    return Estimate(BATCH / found.value, slowest, BATCH / found.low if found.low else None)


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


def cost_per_million(finished: Finished) -> Estimate | None:
    """Return the price of a million rows, answered one request after the other.

    It follows from the mean time of a request; the interval is that of the mean, by its standard
    error.
    """
    prices = finished.purpose.prices
    if prices is None or not finished.rows:
        return None
    serve = finished.serve
    hour = prices.of_request(
        threads=serve.threads or torch.get_num_threads(),
        on_gpu=finished.device.type == "cuda",
        instance=serve.instance,
    )
    if hour is None:
        return None
    times = np.asarray(finished.forward_ms)
    of_a_ms = hour / 3600 / 1e3 / serve.batch * 1e6
    mean = float(times.mean())
    half = 1.96 * float(times.std(ddof=1)) / len(times) ** 0.5 if len(times) > 1 else mean
    return Estimate(mean * of_a_ms, max(0.0, mean - half) * of_a_ms, (mean + half) * of_a_ms)


def energy_j(finished: Finished) -> float | None:
    """Return the joules of a thousand rows, by the counter of the device that runs the model."""
    if not finished.rows or not finished.forward_ms or finished.joules is None:
        return None
    return finished.joules * 1e3


def train_seconds(finished: Finished) -> float | None:
    """Return the seconds of training."""
    return finished.train_seconds() if finished.train_seconds else None


def _interruptions() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def _latency(finished: Finished, name: str) -> Estimate | None:
    return quantile(finished.forward_ms, LATENCIES[name]) if finished.rows else None


def _measure_of(name: str, row: Metric) -> Callable[[Finished], float | Estimate | None]:
    module, _, function = row.measure.partition(":")
    try:
        found: Callable[[Finished], float | Estimate | None] = getattr(
            importlib.import_module(module), function
        )
    except (ImportError, AttributeError, ValueError) as error:
        raise TrialError(f"the metric {name} names no function: {row.measure!r}") from error
    return found
