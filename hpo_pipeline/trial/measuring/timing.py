"""What is timed in a fresh process: a saved model, loaded there as a deployment loads it."""

from __future__ import annotations

import importlib
import random
import resource
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import transformers

from hpo_pipeline.experiment.serve import Serve
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.trial.answering.finished import load_model
from hpo_pipeline.trial.artefact.build import open_artefact
from hpo_pipeline.trial.measuring.energy import open_meter
from hpo_pipeline.trial.measuring.fresh_processes import Spare
from hpo_pipeline.trial.measuring.purpose import LATENCIES, Purpose
from hpo_pipeline.trial.measuring.sampling import (
    CONFIDENCE,
    LEAST_SECONDS,
    MIN_SAMPLES,
    Estimate,
    across,
    warm_up,
)

Batch = dict[str, Any]


@dataclass(frozen=True)
class Subject:
    """A saved model, and how it is served: all that another process needs to load it."""

    task: Task
    folder: Path
    serve: Serve
    threads: int


@dataclass(frozen=True)
class Timed:
    """What one process gave.

    Attributes:
        passes: seconds of each pass of a request.
        batches: seconds of each pass of a batch.
        interrupted: how often the processor was taken away during the passes.
        joules: of a pass; None where no counter can be read.
    """

    passes: tuple[float, ...]
    batches: tuple[float, ...]
    interrupted: int
    joules: float | None


def spare_for(
    purpose: Purpose, serves: Iterable[Serve], task: Task | None = None, folder: Path | None = None
) -> AbstractContextManager[Spare | None]:
    """Set a process aside, before anything is computed, where times are taken in fresh ones.

    It has imported what those need that are forked from it.

    Args:
        folder: of a finished model of the task, where there is one already.
    """
    if purpose.processes is None:
        return nullcontext()
    _preload(serves, task, folder)
    return Spare()


def _preload(serves: Iterable[Serve], task: Task | None, folder: Path | None) -> None:
    if any(serve.format == "onnx" for serve in serves):
        with suppress(ImportError):  # who opens the artefact says so
            importlib.import_module("onnxruntime")
    if task is not None and folder is not None:
        with suppress(OSError, ValueError, KeyError, ImportError):
            config = transformers.AutoConfig.from_pretrained(str(folder))
            TASKS[task.kind].model_class(task)._model_mapping[type(config)]


def timed(
    subject: Subject,
    requests: Sequence[Batch],
    batch: Batch,
    seconds: float,
    *,
    seed: int,
    batches: int,
) -> Timed:
    """Load a model of the CPU and time it.

    All requests come equally often unless time is up before each came once.

    Args:
        batch: a large one, for the throughput; `batches` passes of it are timed, after one.
        seconds: after which no pass begins.
        seed: of the order of the requests.

    Raises:
        DataError: the folder holds no such model.
    """
    torch.set_num_threads(subject.threads)
    run = _runner(subject)
    order = random.Random(seed).sample(range(len(requests)), len(requests))
    with torch.inference_mode():
        warm_up(lambda i: run(requests[order[i % len(order)]]))
        before, meter = interruptions(), open_meter(torch.device("cpu"))
        passes = _passes([requests[i] for i in order], run, seconds)
        joules = meter.joules() / len(passes) if meter is not None else None
        interrupted = interruptions() - before
        throughput = [_seconds(run, batch) for _ in range(1 + batches)][1:]
    return Timed(tuple(passes), tuple(throughput), interrupted, joules)


def latencies(found: Sequence[Timed], confidence: float = CONFIDENCE) -> dict[str, Estimate]:
    """Return the latencies of what processes gave, in milliseconds, by the names of the metrics."""
    # Hazen's quantiles: requests are the middles of equal parts of all rows.
    times = [np.asarray(each.passes) * 1e3 for each in found]
    return {
        name: across([float(np.quantile(t, share, method="hazen")) for t in times], confidence)
        for name, share in LATENCIES.items()
    }


def _passes(requests: Sequence[Batch], run: Callable[[Batch], Any], seconds: float) -> list[float]:
    found: list[float] = []
    start = time.perf_counter()
    while True:
        for request in requests:
            found.append(_seconds(run, request))
            if len(found) >= MIN_SAMPLES and time.perf_counter() - start > seconds:
                return found
        if len(found) >= MIN_SAMPLES and time.perf_counter() - start > LEAST_SECONDS:
            return found


def _seconds(run: Callable[[Batch], Any], batch: Batch) -> float:
    start = time.perf_counter()
    run(batch)
    return time.perf_counter() - start


def _runner(subject: Subject) -> Callable[[Batch], Any]:
    """Return what runs the artefact on a batch; of an exported one the model is not loaded."""
    task, folder, serve = subject.task, subject.folder, subject.serve
    if serve.format == "torch":
        model = load_model(task, folder).eval()
    else:
        model = SimpleNamespace(config=None)
    artefact = open_artefact(model, serve, folder, subject.threads)
    kind = TASKS[task.kind]
    return lambda batch: kind.forward(task, artefact.model, batch)


def interruptions() -> int:
    """Return how often the processor was taken away from this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
