"""A number a row, on samples of the rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hpo_pipeline.tasks.row_metrics.ranks import dense_ranks, spearman

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]


def of_numbers(columns: Mapping[str, Array], counts: Array) -> dict[str, Array]:
    """Return the metrics of a regression.

    Args:
        columns: label and answer of each row.
        counts: how often each row is in each sample (samples x rows).
    """
    import numpy as np

    y, x = columns["label"], columns["answer"]
    weights = counts.astype(float)
    size = weights.sum(axis=1)
    mean_y, mean_x = weights @ y / size, weights @ x / size
    mse = weights @ (x - y) ** 2 / size
    # Around the means of all rows, so that large numbers do not cancel.
    dy, dx = y - y.mean(), x - x.mean()
    var_y = weights @ dy**2 / size - (mean_y - y.mean()) ** 2
    var_x = weights @ dx**2 / size - (mean_x - x.mean()) ** 2
    common = weights @ (dx * dy) / size - (mean_x - x.mean()) * (mean_y - y.mean())
    pearson = np.where(var_x * var_y > 0, common / np.sqrt(var_x * var_y), 0.0)
    return {
        "loss": mse,
        "mse": mse,
        "rmse": np.sqrt(mse),
        "mae": weights @ np.abs(x - y) / size,
        "r2": 1 - mse / var_y,
        "pearson": pearson,
        "spearman": spearman(dense_ranks(x), dense_ranks(y), counts),
    }
