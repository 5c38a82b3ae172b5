"""Evaluating a finished model folder on the held-out test rows, as its user would load it.

The rows are read as text or pixels and encoded with the folder's own tokenizer, so that models
of earlier experiments, whose tokenizers may differ, are measured on the same rows. It runs alone
on the machine: its practical metrics are the ones to quote.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import load_from_disk
from sklearn.metrics import confusion_matrix

from hpo_pipeline.data.dataset import DatasetMeta
from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.objective import with_score
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.outcome import Evaluation
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.tasks.metrics import classification_metrics
from hpo_pipeline.trial.practical_metrics import measure_model, peak_memory_mb, saved_size_mb
from hpo_pipeline.trial.train import load_processor

BATCH = 64


def evaluate(
    experiment: Experiment, dataset: Path, model_folder: Path, max_length: int
) -> Evaluation:
    """Measure a model folder on the test rows of a prepared dataset.

    Args:
        max_length: tokens after which a text is cut.

    Raises:
        DataError: the folder is no model of this task, or has other labels.
    """
    meta = DatasetMeta.read(dataset)
    kind = TASKS[experiment.task.kind]
    try:
        model = kind.model_class.from_pretrained(
            str(model_folder),
            use_safetensors=True,
            trust_remote_code=experiment.task.trust_remote_code,
        )
    except (OSError, ValueError) as error:
        raise DataError(f"{model_folder}: is no model of this task: {error}") from error
    names = [str(model.config.id2label[i]) for i in range(model.config.num_labels)]
    if sorted(names) != sorted(meta.labels):
        raise DataError(
            f"{model_folder}: has the labels {', '.join(names)}, "
            f"the data have {', '.join(meta.labels)}"
        )
    is_text = experiment.task.kind == "text-classification"
    processor = load_processor(model_folder) if is_text else None
    rows, labels = _rows(kind, dataset, processor, max_length)
    shape = tuple(meta.shape) if meta.shape else None
    collate = kind.collator(processor, max_length, shape)  # type: ignore[arg-type]
    model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    logits = _predict(model, rows, collate)
    order = [names.index(label) for label in meta.labels]
    logits = logits[:, order]
    metrics = {
        "loss": _cross_entropy(logits, labels),
        **classification_metrics(logits, labels, experiment.task.metrics),
        **measure_model(model, rows, collate),
        "model_size_mb": saved_size_mb(model_folder),
        "peak_memory_mb": peak_memory_mb(),
    }
    return Evaluation(
        with_score(metrics, experiment.objective), tuple(meta.labels), _confusion(logits, labels)
    )


def _rows(kind: Any, dataset: Path, processor: Any, max_length: int) -> tuple[list[Any], Any]:
    table: Any = load_from_disk(str(dataset / "test"))
    encoded = kind.encode(table["input"][:], processor, max_length)
    labels = np.asarray(table["label"][:])
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i].get("input_ids", ())))
    return [encoded[i] for i in order], labels[order]


def _predict(model: Any, rows: list[Any], collate: Any) -> Any:
    found = []
    with torch.inference_mode():
        for start in range(0, len(rows), BATCH):
            batch = collate(rows[start : start + BATCH])
            inputs = {k: v.to(model.device) for k, v in batch.items()}
            found.append(model(**inputs).logits.float().cpu().numpy())
    return np.concatenate(found)


def _confusion(logits: Any, labels: Any) -> tuple[tuple[int, ...], ...]:
    found = confusion_matrix(labels, logits.argmax(axis=-1), labels=range(logits.shape[-1]))
    return tuple(tuple(int(count) for count in row) for row in found)


def _cross_entropy(logits: Any, labels: Any) -> float:
    loss = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels))
    return float(loss)
