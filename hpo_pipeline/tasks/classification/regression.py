"""A number for each row: the metrics of a regression, and measuring a finished model.

Targets are learnt as they are: a model whose targets lie far from zero needs more steps, so bring
them to a scale around it in the data.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hpo_pipeline.errors import DataError
from hpo_pipeline.tasks.kind import Evaluated, Loaded, Metric
from hpo_pipeline.tasks.prediction import logits_of
from hpo_pipeline.tasks.row_sums import RowSums
from hpo_pipeline.tasks.user_metrics import measure_own

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

CONFIG_FIELDS = {"problem_type": "regression", "num_labels": 1}
METRICS: dict[str, Metric] = {
    "loss": Metric("mean squared error", "lower"),
    "mse": Metric("mean squared error", "lower"),
    "rmse": Metric("root of the mean squared error, in the unit of the labels", "lower"),
    "mae": Metric("mean absolute error, in the unit of the labels", "lower"),
    "r2": Metric("share of the labels' variance that is explained", "higher"),
    "pearson": Metric("linear correlation of answers and labels", "higher"),
    "spearman": Metric("correlation of the ranks of answers and labels", "higher"),
}


def regression_metrics(predicted: Array, labels: Array, own: Mapping[str, str]) -> dict[str, float]:
    """Return the metrics of a regression, without the loss.

    Where all labels are equal, `r2` and the correlations are undefined and left out; answers that
    are all equal correlate with nothing, which is 0.

    Args:
        predicted: a number for each row.
        labels: the right ones.
        own: the user's metrics, name to `module:function`; a function gets the answers and the
            labels and returns a number.

    Raises:
        TrialError: a user's metric cannot be loaded, raises, or does not return a number.
    """
    import numpy as np

    answers = np.asarray(predicted, dtype=np.float64)
    targets = np.asarray(labels, dtype=np.float64)
    errors = answers - targets
    mse = float(np.mean(errors**2))
    found = {"mse": mse, "rmse": mse**0.5, "mae": float(np.mean(np.abs(errors)))}
    if np.isfinite(mse) and np.ptp(targets) > 0:
        found |= _explained(answers, targets)
    for name, target in own.items():
        found[name] = measure_own(name, target, answers, targets)
    return found


def evaluate(loaded: Loaded, own: Mapping[str, str]) -> Evaluated:
    """Return the metrics of a finished model, with the loss.

    Raises:
        DataError: the model answers with classes.
        TrialError: a user's metric cannot be loaded, raises, or does not return a number.
    """
    import numpy as np

    config = loaded.model.config
    if config.num_labels != 1:
        raise DataError(
            f"the model was trained for {config.num_labels} classes, and problem: regression needs "
            f"one that answers with a number"
        )
    labels = np.asarray([row["label"] for row in loaded.rows], dtype=np.float64)
    answers = np.asarray(logits_of(loaded)[:, 0], dtype=np.float64)
    metrics = regression_metrics(answers, labels, own)
    rows = RowSums("numbers", {"label": labels, "answer": answers})
    return Evaluated({"loss": metrics["mse"], **metrics}, rows=rows)


def _explained(answers: Array, targets: Array) -> dict[str, float]:
    import numpy as np
    from scipy.stats import ConstantInputWarning, NearConstantInputWarning, pearsonr, spearmanr
    from sklearn.metrics import r2_score

    found = {"r2": float(r2_score(targets, answers)), "pearson": 0.0, "spearman": 0.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        warnings.simplefilter("ignore", NearConstantInputWarning)
        pearson, spearman = pearsonr(answers, targets)[0], spearmanr(answers, targets)[0]
    if np.isfinite(pearson) and np.isfinite(spearman):
        found |= {"pearson": float(pearson), "spearman": float(spearman)}
    return found
