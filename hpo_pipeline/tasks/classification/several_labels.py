"""Several labels for each row, or none: metrics from logits (rows x labels), and a finished model.

A label is an answer where its probability, the sigmoid of its logit, reaches the threshold.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hpo_pipeline.tasks.kind import Evaluated, Loaded, Metric
from hpo_pipeline.tasks.prediction import logits_of
from hpo_pipeline.tasks.row_metrics.ranks import MAX_RANKS, dense_ranks
from hpo_pipeline.tasks.row_sums import RowSums
from hpo_pipeline.tasks.user_metrics import measure_own

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

_OF_LABELS = ("precision", "recall", "f1")
_MEANS = {
    "micro": "over all pairs of row and label",
    "macro": "mean over the labels",
    "weighted": "mean over the labels, by their rows",
    "samples": "mean over the rows; 0 for a row without labels",
}
METRICS: dict[str, Metric] = {
    "loss": Metric("mean binary cross-entropy over rows and labels", "lower"),
    **{
        f"{name}_{mean}": Metric(f"{name}, {meaning}", "higher")
        for name in _OF_LABELS
        for mean, meaning in _MEANS.items()
    },
    "exact_match": Metric("share of rows with all labels right", "higher"),
    "hamming_loss": Metric("share of wrong pairs of row and label", "lower"),
    "roc_auc": Metric(
        "area under the ROC curve, mean over the labels that some rows have and some have not; "
        "left out where no label is so",
        "higher",
    ),
}
_UNKNOWN = -16.118095550958316
"""The logit of 1e-7: of a label that a model does not know, whose loss must stay finite."""


def several_label_metrics(
    logits: Array, labels: Array, *, threshold: float, own: Mapping[str, str]
) -> dict[str, float]:
    """Return the metrics, without the loss.

    Args:
        logits: rows x labels.
        labels: 1 where the row has the label, else 0; rows x labels.
        threshold: the least probability of an answer.
        own: the user's metrics, name to `module:function`; a function gets the probabilities and
            the labels (rows x labels) and returns a number.

    Raises:
        TrialError: a user's metric cannot be loaded, raises, or does not return a number.
    """
    truth = labels.astype(int)
    probabilities = _sigmoid(logits)
    found = _quality((probabilities >= threshold).astype(int), truth, logits.shape[-1])
    found |= _roc_auc(logits, truth)
    for name, target in own.items():
        found[name] = measure_own(name, target, probabilities, truth)
    return found


def evaluate(loaded: Loaded, *, threshold: float, own: Mapping[str, str]) -> Evaluated:
    """Return the metrics of a finished model, with the loss.

    The model's labels need not be those of the data. A label that the model does not know is never
    its answer, and an answer that the data do not know is wrong; means over labels are over those
    of the data. A model for one label a row answers with those whose share reaches the threshold.

    Raises:
        TrialError: a user's metric cannot be loaded, raises, or does not return a number.
    """
    import numpy as np

    config, names = loaded.model.config, loaded.names
    known = [str(config.id2label[i]) for i in range(config.num_labels)]
    answers = [*names, *(name for name in known if name not in names)]
    found = np.asarray(logits_of(loaded), dtype=np.float64)
    if config.problem_type == "single_label_classification":
        found = _odds(found)
    logits = np.full((len(found), len(answers)), _UNKNOWN)
    logits[:, [answers.index(name) for name in known]] = found
    truth = np.zeros(logits.shape, dtype=int)
    truth[:, : len(names)] = np.asarray([row["label"] for row in loaded.rows])
    predicted = (_sigmoid(logits) >= threshold).astype(int)
    losses = np.logaddexp(0, logits) - truth * logits
    metrics = {"loss": float(losses.sum() / (len(found) * len(names)))}
    metrics |= _quality(predicted, truth, len(names))
    own_logits, own_truth = logits[:, : len(names)], truth[:, : len(names)]
    metrics |= _roc_auc(own_logits, own_truth)
    for name, target in own.items():
        metrics[name] = measure_own(name, target, _sigmoid(own_logits), own_truth)
    columns = {
        "truth": truth.astype(np.uint8),
        "answer": predicted.astype(np.uint8),
        "loss": losses.sum(axis=1) / len(names),
    }
    if "roc_auc" in metrics and own_logits.size <= MAX_RANKS:
        columns["ranks"] = dense_ranks(own_logits)
    return Evaluated(metrics, rows=RowSums("labels", columns, len(names)))


def _quality(predicted: Array, truth: Array, count: int) -> dict[str, float]:
    """Return the metrics of answers; the labels from `count` on are those the data do not know."""
    from sklearn.metrics import accuracy_score, hamming_loss, precision_recall_fscore_support

    found: dict[str, float] = {}
    for mean in _MEANS:
        over = list(range(count)) if mean in ("macro", "weighted") else None
        with warnings.catch_warnings():
            # A label that is never predicted has precision 0: that is its value, not a mishap.
            warnings.simplefilter("ignore")
            values = precision_recall_fscore_support(
                truth, predicted, labels=over, average=mean, zero_division=0.0
            )
        found |= {f"{n}_{mean}": float(v) for n, v in zip(_OF_LABELS, values, strict=False)}
    found["exact_match"] = float(accuracy_score(truth, predicted))
    found["hamming_loss"] = float(hamming_loss(truth, predicted))
    return found


def _roc_auc(logits: Array, truth: Array) -> dict[str, float]:
    """Return the mean area under the ROC curves, or nothing where none is defined."""
    import numpy as np
    from sklearn.metrics import roc_auc_score

    defined = [i for i in range(truth.shape[-1]) if 0 < truth[:, i].sum() < len(truth)]
    if not defined or not np.isfinite(logits).all():
        return {}
    areas = [roc_auc_score(truth[:, i], logits[:, i]) for i in defined]
    return {"roc_auc": float(np.mean(areas))}


def _sigmoid(logits: Array) -> Array:
    import numpy as np

    result: Array = np.exp(-np.logaddexp(0, -np.asarray(logits, dtype=np.float64)))
    return result


def _odds(logits: Array) -> Array:
    """Return the logits of labels of which a row has one: of their shares by the softmax."""
    import numpy as np

    shifted = logits - logits.max(axis=-1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    rest = np.log(np.clip(-np.expm1(logs), 1e-16, None))
    result: Array = logs - rest
    return result
