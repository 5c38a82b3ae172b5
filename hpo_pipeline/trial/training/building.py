"""The Trainer of a trial, and what is done with its model: measured, and saved."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import Trainer

from hpo_pipeline.errors import TrialError
from hpo_pipeline.experiment.metrics import PRACTICAL_METRICS, SCORE
from hpo_pipeline.experiment.serve import PLAIN, Serve
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.tasks.kind import Collate, Loaded
from hpo_pipeline.trial.artefact.build import Artefact, build_artefact, forget_artefacts
from hpo_pipeline.trial.artefact.record import lengths_of, write_record
from hpo_pipeline.trial.measuring.fresh_processes import Spare
from hpo_pipeline.trial.measuring.practical_metrics import Finished, Forward, Measured, measure
from hpo_pipeline.trial.measuring.purpose import Purpose
from hpo_pipeline.trial.measuring.quiet import QuietSlot
from hpo_pipeline.trial.training.length_order import CHOICE, order_by_length
from hpo_pipeline.trial.training.loading import (
    finished_model,
    load_data,
    load_model,
    save_model,
    training_arguments,
)
from hpo_pipeline.trial.training.precision import as_saved, own_precision, with_precision
from hpo_pipeline.trial.training.row_shares import share_of

logger = logging.getLogger(__name__)

Served = tuple[Artefact | None, dict[str, float]]

OwnMeasure = Callable[[Any, Path | None], Mapping[str, Any]]
"""The user's practical metrics, given the model and the folder where it is saved, if it is."""


@dataclass(frozen=True)
class Sample:
    """Rows on which the model's speed is measured, and how they become a batch."""

    rows: Sequence[Any]
    collate: Collate
    forward: Forward


class Practical:
    """Practical metrics of a trial: for its curve, as far as they are missing, and at its end.

    Latency and throughput hardly change during training, so one measurement serves all
    evaluations; those of the result are measured on the finished model.

    Attributes:
        slot: the quiet in which it is measured.
        spare: forks the processes in which the finished model is timed; by default this one is it.
    """

    def __init__(
        self,
        find: Callable[[], Sample | None],
        own: OwnMeasure | None = None,
        *,
        task: Task | None = None,
        earlier: float = 0.0,
    ) -> None:
        """Measure on rows, if `find` has any; the training took `earlier` seconds before.

        Args:
            task: by which other processes can load the model; None where they cannot.
        """
        self._task = task
        self._find = find
        self._own = own
        self._finished: Finished | None = None
        self._start = time.perf_counter() - earlier
        self.slot = QuietSlot()
        self.spare: Spare | None = None

    def missing(self, model: Any, names: Collection[str]) -> dict[str, float]:
        """Return those of the named metrics that are practical ones."""
        with own_precision(model):  # as a deployment runs it
            return self._missing(model, names)

    def final(
        self,
        model: Any,
        folder: Path,
        train_seconds: float,
        *,
        purpose: Purpose,
        served: Artefact | None = None,
        serve: Serve = PLAIN,
    ) -> Measured:
        """Return all practical metrics of the finished model, as it is served."""
        finished = self._of(
            model,
            folder,
            lambda: train_seconds,
            served=served,
            serve=serve,
            purpose=purpose,
            spare=self.spare,
            task=self._task,
        )
        with self.slot.alone():
            found = measure(finished)
        return replace(found, metrics={**found.metrics, **self._owned(model, folder)})

    def _missing(self, model: Any, names: Collection[str]) -> dict[str, float]:
        found: dict[str, float] = {}
        if wanted := set(names) & set(PRACTICAL_METRICS):
            if self._finished is None:
                self._finished = self._of(model, None, lambda: time.perf_counter() - self._start)
                with self.slot.alone():
                    measure(self._finished)
            measured = measure(self._finished).metrics
            found |= measured if wanted & set(measured) else {}
        if set(names) - set(PRACTICAL_METRICS):
            found |= self._owned(model, None)
        return found

    @cached_property
    def _sample(self) -> Sample | None:
        return self._find()

    def _of(
        self, model: Any, folder: Path | None, seconds: Callable[[], float], **served: Any
    ) -> Finished:
        if self._sample is None:
            return Finished(model, folder=folder, train_seconds=seconds, **served)
        rows, collate, forward = self._sample.rows, self._sample.collate, self._sample.forward
        return Finished(model, rows, collate, folder, seconds, forward=forward, **served)

    def _owned(self, model: Any, folder: Path | None) -> dict[str, float]:
        if self._own is None:
            return {}
        return checked_metrics(self._own(model, folder), "task.measure")


def checked_metrics(found: object, source: str) -> dict[str, float]:
    """Return the metrics that the user's code gave.

    Raises:
        TrialError: they are no mapping, one is not a finite number, or a name is taken.
    """
    if not isinstance(found, Mapping):
        raise TrialError(f"{source} must return a mapping of metrics, got {found!r}")
    refuse_taken(found, source)
    metrics: dict[str, float] = {}
    for name, value in found.items():
        try:
            metrics[str(name)] = float(value)
        except (TypeError, ValueError) as error:
            raise TrialError(f"{source}: {name} must be a number, got {value!r}") from error
        if not math.isfinite(metrics[str(name)]):
            raise TrialError(f"{source}: {name} is {value}")
    return metrics


def refuse_taken(names: Collection[Any], source: str) -> None:
    """Raise where a name of the user's metrics is one of ours.

    Raises:
        TrialError: it is; the message has the names.
    """
    taken = [str(name) for name in names if name in {*PRACTICAL_METRICS, SCORE}]
    if taken:
        raise TrialError(
            f"{source} gives {', '.join(taken)}, which every trial measures by itself; give "
            f"{'it another name' if len(taken) == 1 else 'them other names'}"
        )


@dataclass(frozen=True)
class Built:
    """A Trainer that is ready, and what is done with its model.

    `save` writes the model into a folder, and returns it as it is deployed. `serve` makes the
    artefact that is served, and returns it with the metrics that it reaches; None and nothing where
    the model is served as it is, whose own metrics hold. `keep` says which artefact of the folder
    is the one, and removes the others.
    """

    trainer: Trainer
    practical: Practical
    save: Callable[[Path], Any]
    serve: Callable[[Serve, Any, Path], Served] = lambda serve, model, folder: (None, {})
    keep: Callable[[Serve, Path], None] = lambda serve, folder: None


def build(
    task: Task,
    dataset: Path,
    output: Path,
    seed: int,
    *,
    earlier: float = 0.0,
    share: float | None = None,
) -> Built:
    """Return the Trainer of a kind of task that is ours, with the trial's own values.

    Args:
        share: of the training rows that it trains on; None for all.
    """
    kind = TASKS[task.kind]
    data = load_data(task, dataset)
    if share is not None:
        form, first = kind.form(task).label, task.rows.seed
        data = replace(data, train=share_of(data.train, share, form, first))
    arguments = training_arguments(task, output, seed)
    transformers.set_seed(arguments.seed)
    model = load_model(task, data)
    trainer = kind.trainer(
        task,
        model=model,
        args=with_precision(arguments, task.precision, model, task.training),
        data_collator=data.collate,
        train_dataset=data.train,
        eval_dataset=data.validation,
        compute_metrics=kind.compute_metrics(task, data.processor, data.meta.labels),
        preprocess_logits_for_metrics=kind.reduced_logits,
    )
    lengths = kind.padded_lengths(task, trainer.train_dataset)
    if lengths is not None and CHOICE not in task.training:
        order_by_length(trainer, lengths)

    def save(folder: Path) -> Any:
        finished = finished_model(task, data, as_saved(trainer), folder)
        save_model(finished, data, folder)
        return finished

    def serve_it(serve: Serve, finished: Any, folder: Path) -> Served:
        if serve.is_plain:
            return None, {}
        finished.eval()
        rows, threads = data.validation, torch.get_num_threads()
        served = build_artefact(finished, serve, folder, rows, data.collate, threads)
        names, batch = data.meta.labels, serve.rows_at_once
        loaded = Loaded(served.model, data.processor, rows, data.collate, names, batch)
        return served, kind.evaluate(task, loaded).metrics

    def keep(serve: Serve, folder: Path) -> None:
        forget_artefacts(folder, serve)
        lengths = lengths_of(data.validation, kind.length)
        write_record(folder, serve, kind=task.kind, max_length=task.max_length, lengths=lengths)

    sample = Sample(data.validation, data.collate, data.forward)
    practical = Practical(lambda: sample, task=task, earlier=earlier)
    return Built(trainer, practical, save, serve_it, keep)
