"""Measuring a finished model of a task of the user's own, for the gate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from datasets import load_from_disk

from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.metrics import PRACTICAL_METRICS
from hpo_pipeline.experiment.objective import with_score
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.outcome import Evaluation
from hpo_pipeline.trial.own.trainer import METRICS_FILE, call
from hpo_pipeline.trial.training.building import checked_metrics


def evaluate_own(experiment: Experiment, dataset: Path, model: Path) -> Evaluation:
    """Return what `task.evaluate` finds on the test rows; without it, what the trial had found.

    The function gets the folder of the model and the test rows, which are None without data. What
    it does not measure is taken from the model's own trial.

    Raises:
        DataError: the model was not trained by such a task.
        TrialError: the function raises, or gives no metrics.
    """
    settings: Any = experiment.task.settings
    target = settings.evaluate
    before = _validation_metrics(model)
    if target is None:
        if before is None:
            raise DataError(f"{model}: has no {METRICS_FILE}, and task.evaluate names no function")
        return Evaluation(before, (), ())
    rows: Any = load_from_disk(str(dataset / "test")) if experiment.task.data else None
    found = checked_metrics(call(target, model, rows, name="the evaluation"), "task.evaluate")
    practical = {n: v for n, v in (before or {}).items() if n in PRACTICAL_METRICS}
    return Evaluation(with_score({**practical, **found}, experiment.objective), (), ())


def _validation_metrics(model: Path) -> dict[str, float] | None:
    try:
        content = json.loads((model / METRICS_FILE).read_text("utf-8"))
        return {str(n): float(v) for n, v in content["metrics"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
