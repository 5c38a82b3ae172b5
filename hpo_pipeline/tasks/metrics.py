"""The quality metrics of classification, and the user's own.

Metrics are computed from logits and labels; the loss comes from the Trainer.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from hpo_pipeline.errors import TrialError

Array = NDArray[Any]
UserMetric = Callable[[Array, Array], float]


def classification_metrics(
    logits: Array, labels: Array, own: Mapping[str, str]
) -> dict[str, float]:
    """Return the metrics of a classification.

    Args:
        logits: rows x classes.
        labels: rows.
        own: the user's metrics, name to `module:function`; a function gets the probabilities
            (rows x classes) and the labels and returns a number.

    Raises:
        TrialError: a user's metric cannot be loaded, raises, or gives no number.
    """
    predicted = logits.argmax(axis=-1)
    found = {"accuracy": float(accuracy_score(labels, predicted))}
    means = {
        "macro": _means(labels, predicted, logits.shape[-1], "macro"),
        "weighted": _means(labels, predicted, logits.shape[-1], "weighted"),
    }
    is_binary = logits.shape[-1] == 2
    plain = _means(labels, predicted, 2, "binary") if is_binary else means["macro"]
    for i, name in enumerate(("precision", "recall", "f1")):
        found[name] = plain[i]
        found |= {f"{name}_{mean}": values[i] for mean, values in means.items()}
    for name, target in own.items():
        found[name] = _own(name, target, _softmax(logits), labels)
    return found


def user_metric(target: str) -> UserMetric:
    """Return the function that `module:function` names.

    Raises:
        TrialError: there is no such module or function, or the module cannot be imported.
    """
    module, _, function = target.partition(":")
    try:
        found: UserMetric = getattr(importlib.import_module(module), function)
    # Foreign code may raise anything when it is imported, as below when it is called.
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise TrialError(f"the metric {target} cannot be loaded: {reason}") from error
    if not callable(found):
        raise TrialError(f"the metric {target} is no function, got {found!r}")
    return found


def _means(labels: Array, predicted: Array, classes: int, average: str) -> tuple[float, ...]:
    with warnings.catch_warnings():
        # A class that is never predicted has precision 0: that is the value, not a mishap.
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        values = precision_recall_fscore_support(
            labels,
            predicted,
            labels=None if average == "binary" else range(classes),
            average=average,
            zero_division=0.0,
        )
    return tuple(float(value) for value in values[:3])


def _own(name: str, target: str, probabilities: Array, labels: Array) -> float:
    function = user_metric(target)
    try:
        return float(function(probabilities, labels))
    # Foreign code may raise anything, and the trial should say whose code it was.
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise TrialError(f"the metric {name} ({target}) raised {reason}") from error


def _softmax(logits: Array) -> Array:
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: Array = shifted / shifted.sum(axis=-1, keepdims=True)
    return result
