"""Evaluating a finished model folder on the held-out test rows, as its user would load it.

The inputs are encoded with the folder's own processor, so that models of earlier experiments,
whose tokenizers and labels may differ, are measured on the same rows. It runs alone on the
machine: its practical metrics are the ones to quote.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import load_from_disk

from hpo_pipeline.data.dataset import DatasetMeta
from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.objective import with_score
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.outcome import Evaluation
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.tasks.kind import Collate, Inputs, Row
from hpo_pipeline.trial.practical_metrics import Finished, measure

BATCH = 64


def evaluate(
    experiment: Experiment, dataset: Path, model_folder: Path, max_length: int
) -> Evaluation:
    """Measure a model folder on the test rows of a prepared dataset.

    A row whose label the model does not know counts as wrong, and so does an answer that is no
    label of the data.

    Args:
        max_length: tokens after which a text is cut.

    Raises:
        DataError: the folder is not a model of this task.
        TrialError: a metric of the user fails.
    """
    meta = DatasetMeta.read(dataset)
    kind = TASKS[experiment.task.kind]
    model = _load(experiment, model_folder)
    processor = kind.inputs.load_processor(model_folder)
    rows, labels = _rows(kind.inputs, dataset, processor, max_length)
    shape = tuple(meta.shape) if meta.shape else None
    collate = kind.inputs.collator(processor, max_length, shape)  # type: ignore[arg-type]
    model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    found = kind.targets.evaluate(
        _predict(model, rows, collate),
        labels,
        known=[str(model.config.id2label[i]) for i in range(model.config.num_labels)],
        names=meta.labels,
        own=experiment.task.metrics,
    )
    practical = measure(Finished(model, rows, collate, model_folder))
    metrics = with_score({**found.metrics, **practical}, experiment.objective)
    return Evaluation(metrics, found.labels, found.confusion)


def _load(experiment: Experiment, folder: Path) -> Any:
    task = experiment.task
    try:
        return (
            TASKS[task.kind]
            .model_class()
            .from_pretrained(
                str(folder), use_safetensors=True, trust_remote_code=task.trust_remote_code
            )
        )
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: is not a model for {task.kind}: {error}") from error


def _rows(
    inputs: Inputs, dataset: Path, processor: Any, max_length: int
) -> tuple[list[Row], np.ndarray[Any, Any]]:
    table: Any = load_from_disk(str(dataset / "test"))
    encoded = inputs.encode(table["input"][:], processor, max_length)
    order = sorted(range(len(encoded)), key=lambda i: inputs.length(encoded[i]))
    return [encoded[i] for i in order], np.asarray(table["label"][:])[order]


def _predict(model: Any, rows: list[Row], collate: Collate) -> np.ndarray[Any, Any]:
    found = []
    with torch.inference_mode():
        for start in range(0, len(rows), BATCH):
            batch = collate(rows[start : start + BATCH])
            inputs = {k: v.to(model.device) for k, v in batch.items()}
            found.append(model(**inputs).logits.float().cpu().numpy())
    return np.concatenate(found)
