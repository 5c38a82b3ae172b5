"""Evaluating a finished model folder on the held-out test rows, as its user would load it.

The inputs are encoded with the folder's own processor, so that models of earlier experiments,
whose tokenizers and labels may differ, are measured on the same rows. It runs alone on the
machine: its practical metrics are the ones to quote.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from datasets import load_from_disk

from hpo_pipeline.data.prepared.dataset import DatasetMeta
from hpo_pipeline.experiment.objective import with_score
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.results.outcome import Evaluation
from hpo_pipeline.results.trial import MEASURED_FOR
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.tasks.kind import Loaded, Row, rows_of
from hpo_pipeline.tasks.row_sums import write_rows
from hpo_pipeline.trial.answering.finished import open_finished
from hpo_pipeline.trial.artefact.record import read_record
from hpo_pipeline.trial.environment import measured_on
from hpo_pipeline.trial.measuring.fresh_processes import Spare
from hpo_pipeline.trial.measuring.practical_metrics import Finished, measure
from hpo_pipeline.trial.measuring.purpose import Purpose
from hpo_pipeline.trial.measuring.timing import spare_for
from hpo_pipeline.trial.own.evaluation import evaluate_own


def evaluate(
    experiment: Experiment,
    dataset: Path,
    model_folder: Path,
    max_length: int,
    *,
    rows_file: Path | None = None,
    is_final: bool = True,
) -> Evaluation:
    """Measure a model folder on the test rows of a prepared dataset.

    A row whose label the model does not know counts as wrong, and so does an answer that is no
    label of the data. What is measured is the artefact that the folder is served as, be it another
    than the experiment asks for: so a champion is compared as it is deployed.

    Args:
        max_length: tokens after which a text is cut.
        rows_file: gets what each row adds to the metrics, where the kind of task tells.
        is_final: whether its times are quoted; else they are taken as those of trials are.

    Raises:
        DataError: the folder is not a model of this task.
        TrialError: a metric of the user fails.
    """
    if TASKS[experiment.task.kind].is_own_code:
        return evaluate_own(experiment, dataset, model_folder)
    task = experiment.task.model_copy(update={"max_length": max_length})
    purpose = Purpose(
        experiment.reads, experiment.constraints, prices=experiment.prices, is_final=is_final
    )
    with spare_for(purpose, [read_record(model_folder)], task, model_folder) as spare:
        return _evaluated(experiment, task, dataset, model_folder, rows_file, purpose, spare)


def _evaluated(
    experiment: Experiment,
    task: Task,
    dataset: Path,
    model_folder: Path,
    rows_file: Path | None,
    purpose: Purpose,
    spare: Spare | None,
) -> Evaluation:
    meta = DatasetMeta.read(dataset)
    kind = TASKS[task.kind]
    opened = open_finished(task, model_folder)
    collate = kind.collator(task, opened.processor, meta.image_shape)
    rows, order = _rows(task, dataset, opened.processor, meta.labels)
    batch = opened.serve.rows_at_once
    loaded = Loaded(opened.served.model, opened.processor, rows, collate, meta.labels, batch)
    found = kind.evaluate(task, loaded)
    if rows_file is not None and found.rows is not None:
        write_rows(rows_file, found.rows.in_order(np.asarray(order)))
    forward = partial(kind.forward, task)
    start = time.perf_counter()
    practical = measure(
        Finished(
            opened.model,
            rows,
            collate,
            model_folder,
            forward=forward,
            served=opened.served,
            serve=opened.serve,
            purpose=replace(purpose, metrics=found.metrics),
            spare=spare,
            task=task,
        )
    )
    took = {MEASURED_FOR: f"{time.perf_counter() - start:.1f} s"}
    metrics = with_score({**found.metrics, **practical.metrics}, experiment.objective)
    return Evaluation(
        metrics,
        found.labels,
        found.confusion,
        practical.intervals,
        {**measured_on(opened.serve, practical.interrupted, practical.processes), **took},
    )


def _rows(
    task: Task, dataset: Path, processor: Any, names: list[str]
) -> tuple[list[Row], list[int]]:
    """Return the encoded test rows, short ones first, and where each is in the data."""
    kind = TASKS[task.kind]
    table: Any = load_from_disk(str(dataset / "test"))
    encoded = kind.encode(task, table[:], processor, names)
    rows = rows_of(encoded)
    order = sorted(range(len(rows)), key=lambda i: kind.length(rows[i]))
    return [rows[i] for i in order], order
