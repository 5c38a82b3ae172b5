"""Measuring the practical metrics: what a deployment of the finished model pays for.

Measured in evaluation mode, without gradients, on real rows in random order, after warm-up. Latency
and throughput are of the model's forward pass; tokenisation, the network and a server come on top.
What somebody reads is timed in several fresh processes and has the interval of sampling.py; a time
that nobody reads comes from this process, and has none.
"""

from __future__ import annotations

import importlib
import logging
import random
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hpo_pipeline.errors import TrialError
from hpo_pipeline.experiment.metrics import PRACTICAL_METRICS
from hpo_pipeline.experiment.serve import PLAIN, Serve
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.experiment.verdict import Interval
from hpo_pipeline.tasks.kind import Collate, Metric, Row
from hpo_pipeline.trial.artefact.build import Artefact
from hpo_pipeline.trial.measuring.energy import open_meter
from hpo_pipeline.trial.measuring.fresh_processes import ProcessLost, Spare
from hpo_pipeline.trial.measuring.purpose import (
    LATENCIES,
    NOBODY,
    READ,
    THROUGHPUT,
    THROUGHPUT_UNREAD,
    Purpose,
)
from hpo_pipeline.trial.measuring.requests import requests
from hpo_pipeline.trial.measuring.sampling import (
    Estimate,
    across,
    in_processes,
    quantile,
    sample,
)
from hpo_pipeline.trial.measuring.timing import Subject, Timed, interruptions, latencies, timed

logger = logging.getLogger(__name__)
REQUESTS, REQUEST_ROWS = 128, 2048
"""How many are different, and of how many rows together; they are made before the clock runs."""
BATCH = 32
Forward = Callable[[Any, dict[str, Any]], Any]
"""Runs a model on a batch, as a deployment would."""


def forward_whole(model: Any, batch: dict[str, Any]) -> Any:
    """Run a model on a whole batch."""
    return model(**batch)


def _no_batch(rows: list[Row]) -> dict[str, Any]:
    raise AssertionError("unreachable: without rows there is no batch")


@dataclass(frozen=True)
class Measured:
    """Practical metrics, and the 95 % intervals of those that were sampled.

    `interrupted` is how often the system took the processor away, for each pass that was timed: on
    a quiet machine next to never. `processes` were timed; 0 stands for the one that measures.
    """

    metrics: dict[str, float]
    intervals: dict[str, Interval]
    interrupted: float = 0.0
    processes: int = 0


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
        spare: forks the processes in which the model is timed; without it this one times it.
        task: by which they load the model from its folder.
    """

    model: Any
    rows: Sequence[Row] = ()
    collate: Collate = _no_batch
    folder: Path | None = None
    train_seconds: Callable[[], float] | None = None
    forward: Forward = forward_whole
    served: Artefact | None = None
    serve: Serve = PLAIN
    purpose: Purpose = NOBODY
    interrupted: float = 0.0
    joules: float | None = None
    spare: Spare | None = None
    task: Task | None = None

    @cached_property
    def processes(self) -> list[Timed]:
        """What fresh processes gave; none where this one has to do."""
        plan, spare = self.purpose.processes, self.spare
        # On a GPU each process would need room for the model.
        if not (plan and spare and self.task and self.folder and self.device.type == "cpu"):
            return []
        threads = self.serve.threads or torch.get_num_threads()
        subject = Subject(self.task, self.folder, self.serve, threads)
        requests = self._requests()
        (batch,) = self._batches(1, BATCH, None)

        one = partial(timed, batches=3 if "throughput_per_s" in self.purpose.reads else 1)

        def run(number: int) -> Any:
            return spare.call(partial(one, seed=number), subject, requests, batch, plan.each)

        is_clear = partial(self.purpose.is_clear, size=model_size_mb(self))
        try:
            found: list[Timed] = in_processes(run, plan, latencies, is_clear)
        except ProcessLost as error:
            logger.warning("the model is timed in this process alone: %s", error)
            return []
        self.interrupted = sum(t.interrupted for t in found) / sum(len(t.passes) for t in found)
        if joules := [t.joules for t in found if t.joules is not None]:
            self.joules = sum(joules) / len(joules) / self.serve.batch
        return found

    @cached_property
    def forward_ms(self) -> list[float]:
        """Milliseconds of forward passes of `serve.batch` rows each, in this process."""
        batches = self._requests()
        passes = 0

        def timed_pass(i: int) -> float:
            nonlocal passes
            passes += 1  # those of the warm-up use energy, too
            return self._seconds(batches[i % len(batches)]) * 1e3

        before, meter = interruptions(), open_meter(self.device)
        times = sample(
            timed_pass,
            self.purpose.plan,
            LATENCIES,
            partial(self.purpose.is_clear, size=model_size_mb(self)),
        )
        self.interrupted = (interruptions() - before) / len(times)
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

    def _requests(self) -> list[dict[str, Any]]:
        count = max(1, min(REQUESTS, REQUEST_ROWS // self.serve.batch))
        return self._batches(count, self.serve.batch, self.serve.lengths)

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
        len(finished.processes) if finished.rows else 0,
    )


def latency_p50_ms(finished: Finished) -> Estimate | float | None:
    """Return the median milliseconds of a forward pass."""
    return _latency(finished, "latency_p50_ms")


def latency_p90_ms(finished: Finished) -> Estimate | float | None:
    """Return the 90th percentile of the milliseconds of a forward pass."""
    return _latency(finished, "latency_p90_ms")


def latency_p95_ms(finished: Finished) -> Estimate | float | None:
    """Return the 95th percentile of the milliseconds of a forward pass."""
    return _latency(finished, "latency_p95_ms")


def throughput_per_s(finished: Finished) -> Estimate | float | None:
    """Return the examples per second, at the median time of a batch."""
    if not finished.rows:
        return None
    if finished.processes:
        medians = [float(np.median(each.batches)) for each in finished.processes]
        return across([BATCH / seconds for seconds in medians])
    found = quantile(finished.batch_seconds, 0.5)
    if "throughput_per_s" not in finished.purpose.reads:
        return BATCH / found.value
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


def cost_per_million(finished: Finished) -> Estimate | float | None:
    """Return the price of a million rows, answered one request after the other.

    It follows from the mean time of a request. The interval is that of its means in processes; in
    one process alone, by the standard error of the mean.
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
    of_a_ms = hour / 3600 / 1e3 / serve.batch * 1e6
    if finished.processes:
        return across([float(np.mean(t.passes)) * 1e3 * of_a_ms for t in finished.processes])
    times = np.asarray(finished.forward_ms)
    mean = float(times.mean())
    if finished.purpose.plan is not READ:
        return mean * of_a_ms
    half = 1.96 * float(times.std(ddof=1)) / len(times) ** 0.5 if len(times) > 1 else mean
    return Estimate(mean * of_a_ms, max(0.0, mean - half) * of_a_ms, (mean + half) * of_a_ms)


def energy_j(finished: Finished) -> float | None:
    """Return the joules of a thousand rows, by the counter of the device that runs the model."""
    if not finished.rows or not (finished.processes or finished.forward_ms):
        return None
    if finished.joules is None:
        return None
    return finished.joules * 1e3


def train_seconds(finished: Finished) -> float | None:
    """Return the seconds of training."""
    return finished.train_seconds() if finished.train_seconds else None


def _latency(finished: Finished, name: str) -> Estimate | float | None:
    if finished.rows and finished.processes:
        return latencies(finished.processes)[name]
    found = quantile(finished.forward_ms, LATENCIES[name]) if finished.rows else None
    return found if found is None or finished.purpose.plan is READ else found.value


def _measure_of(name: str, row: Metric) -> Callable[[Finished], float | Estimate | None]:
    module, _, function = row.measure.partition(":")
    try:
        found: Callable[[Finished], float | Estimate | None] = getattr(
            importlib.import_module(module), function
        )
    except (ImportError, AttributeError, ValueError) as error:
        raise TrialError(f"the metric {name} names no function: {row.measure!r}") from error
    return found
