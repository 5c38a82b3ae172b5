"""One label a row: what the kinds of classification have in common.

Metrics are computed from logits (rows x labels); the loss of a trial is the Trainer's own.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from hpo_pipeline.tasks.kind import Evaluated, Loaded, Metric, TaskKind
from hpo_pipeline.tasks.prediction import LEAST_PROBABILITY, logits_of
from hpo_pipeline.tasks.row_metrics.ranks import MAX_RANKS, dense_ranks
from hpo_pipeline.tasks.row_sums import RowSums
from hpo_pipeline.tasks.task_fields import TaskFields
from hpo_pipeline.tasks.user_metrics import measure_own

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

_OF_A_LABEL = ("precision", "recall", "f1")
_POSITIVE = "of the second of two labels, macro mean of more"
METRICS: dict[str, Metric] = {
    "loss": Metric("mean cross-entropy", "lower"),
    "accuracy": Metric("share of rows with the right label", "higher"),
    **{name: Metric(f"{name} {_POSITIVE}", "higher") for name in _OF_A_LABEL},
    **{
        f"{name}_{mean}": Metric(f"{name}, {mean} mean over the labels", "higher")
        for name in _OF_A_LABEL
        for mean in ("macro", "weighted")
    },
    "balanced_accuracy": Metric("mean recall of the labels that occur", "higher"),
    "matthews_corrcoef": Metric("correlation of answers and labels, from -1 to 1", "higher"),
    "roc_auc": Metric(
        "area under the ROC curve of the second of two labels; of more, the macro mean of each "
        "against the rest. It is left out where the rows have one label only",
        "higher",
    ),
}


def label_names(labels: Iterable[str]) -> list[str]:
    """Return the different labels in order: as numbers where all are, else by their text."""
    names = set(labels)
    if all(re.fullmatch(r"-?[0-9]+", name) for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def encode_labels(labels: Sequence[str], names: Sequence[str]) -> list[int]:
    """Return the position of each label in the names."""
    number = {name: i for i, name in enumerate(names)}
    return [number[label] for label in labels]


def label_maps(names: Sequence[str]) -> dict[str, Any]:
    """Return the fields of the model's config that name the labels."""
    return {
        "id2label": dict(enumerate(names)),
        "label2id": {name: i for i, name in enumerate(names)},
    }


def config_fields(names: Sequence[str]) -> dict[str, Any]:
    """Return the fields of the model's config that name the labels, and say one label a row."""
    return {"problem_type": "single_label_classification", **label_maps(names)}


def classification_metrics(
    logits: Array, labels: Array, own: Mapping[str, str]
) -> dict[str, float]:
    """Return the metrics of a classification, without the loss.

    Args:
        logits: rows x labels.
        labels: the number of the right label of each row.
        own: the user's metrics, name to `module:function`; a function gets the probabilities
            (rows x labels) and the labels and returns a number.

    Raises:
        TrialError: a user's metric cannot be loaded, raises, or does not return a number.
    """
    import numpy as np

    logs = _log_softmax(logits)
    found = _quality(logits.argmax(axis=-1), labels, logits.shape[-1])
    found |= _roc_auc(logs, labels)
    for name, target in own.items():
        found[name] = measure_own(name, target, np.exp(logs), labels)
    return found


def evaluate(
    predictions: Array,
    labels: Array,
    *,
    known: Sequence[str],
    names: Sequence[str],
    own: Mapping[str, str],
) -> Evaluated:
    """Return the metrics of a finished model, with the loss, and its confusion matrix.

    The model's labels need not be those of the data. A row whose label the model does not know is
    wrong, and so is an answer that the data do not know; the means are over the data's labels.

    Raises:
        TrialError: a user's metric cannot be loaded, raises, or does not return a number.
    """
    import numpy as np
    from sklearn.metrics import confusion_matrix

    answers = [*names, *(name for name in known if name not in names)]
    logs = np.full((len(labels), len(answers)), np.log(LEAST_PROBABILITY))
    logs[:, [answers.index(name) for name in known]] = _log_softmax(predictions)
    predicted = logs.argmax(axis=-1)
    losses = -logs[np.arange(len(labels)), labels]
    metrics = {"loss": float(losses.mean()), **_quality(predicted, labels, len(names))}
    metrics |= _roc_auc(logs[:, : len(names)], labels)
    for name, target in own.items():
        probabilities = _folded(np.exp(logs), labels, len(names))
        metrics[name] = measure_own(name, target, probabilities, labels)
    counts = confusion_matrix(labels, predicted, labels=range(len(answers)))
    confusion = tuple(tuple(int(count) for count in row) for row in counts)
    columns = {"label": labels, "answer": predicted, "loss": losses}
    if "roc_auc" in metrics and len(labels) * len(names) <= MAX_RANKS:
        scores = logs[:, 1] - logs[:, 0] if len(names) == 2 else logs[:, : len(names)]
        columns["ranks"] = dense_ranks(scores)
    rows = RowSums("classes", columns, len(names))
    return Evaluated(metrics, tuple(answers), confusion, rows)


def _folded(probabilities: Array, labels: Array, count: int) -> Array:
    """Return the probabilities of the data's labels, which a user's metric expects.

    What a model gave to labels that the data do not know goes to the likeliest wrong label: the
    row stays wrong, and the sum stays one.
    """
    import numpy as np

    found = probabilities[:, :count].copy()
    rows = np.arange(len(labels))
    wrong = found.copy()
    wrong[rows, labels] = -1.0
    found[rows, wrong.argmax(axis=-1)] += probabilities[:, count:].sum(axis=-1)
    return found


def _quality(predicted: Array, labels: Array, count: int) -> dict[str, float]:
    """Return the metrics of answers; `count` labels, above which an answer is wrong anyway."""
    from sklearn.metrics import accuracy_score, balanced_accuracy_score, matthews_corrcoef

    found = {"accuracy": float(accuracy_score(labels, predicted))}
    with warnings.catch_warnings():
        # Of answers that no row has as its label, and of rows with one label only.
        warnings.simplefilter("ignore", UserWarning)
        found["balanced_accuracy"] = float(balanced_accuracy_score(labels, predicted))
        found["matthews_corrcoef"] = float(matthews_corrcoef(labels, predicted))
    means = {mean: _means(labels, predicted, range(count), mean) for mean in ("macro", "weighted")}
    # The mean over one label is the value of that label.
    plain = _means(labels, predicted, (1,), "macro") if count == 2 else means["macro"]
    for i, name in enumerate(_OF_A_LABEL):
        found[name] = plain[i]
        found |= {f"{name}_{mean}": values[i] for mean, values in means.items()}
    return found


def _roc_auc(logs: Array, labels: Array) -> dict[str, float]:
    """Return the area under the ROC curve, or nothing where it is undefined.

    Args:
        logs: of the probabilities (rows x labels).
    """
    import numpy as np
    from sklearn.metrics import roc_auc_score

    occurring = np.unique(labels)
    if len(occurring) < 2 or not np.isfinite(logs).all():
        return {}
    if logs.shape[-1] == 2:
        # The difference still orders rows where probabilities are rounded to one.
        return {"roc_auc": float(roc_auc_score(labels == 1, logs[:, 1] - logs[:, 0]))}
    areas = [roc_auc_score(labels == label, logs[:, label]) for label in occurring]
    return {"roc_auc": float(np.mean(areas))}


def _means(labels: Array, predicted: Array, over: Sequence[int], average: str) -> tuple[float, ...]:
    from sklearn.exceptions import UndefinedMetricWarning
    from sklearn.metrics import precision_recall_fscore_support

    with warnings.catch_warnings():
        # A label that is never predicted has precision 0: that is its value, not a mishap.
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        values = precision_recall_fscore_support(
            labels, predicted, labels=list(over), average=average, zero_division=0.0
        )
    return tuple(float(value) for value in values[:3])


def _log_softmax(logits: Array) -> Array:
    import numpy as np

    shifted = np.asarray(logits, dtype=np.float64) - logits.max(axis=-1, keepdims=True)
    result: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


class ClassificationKind(TaskKind):
    """What the kinds with one label a row have in common."""

    exports: ClassVar[bool] = True
    measured_by: ClassVar[tuple[str, ...]] = ("sklearn.metrics",)

    def metrics(self, task: TaskFields) -> Mapping[str, Metric]:
        """Return the metrics of a classification."""
        return METRICS

    def row_metrics(self, task: TaskFields) -> frozenset[str]:
        """Return all of them."""
        return frozenset(METRICS)

    def names(self, task: TaskFields, labels: Iterable[Any]) -> list[str]:
        """Return the different labels in order."""
        return label_names(labels)

    def label_fields(self, task: TaskFields, names: Sequence[str]) -> dict[str, Any]:
        """Return the fields of the config that name the labels."""
        return config_fields(names)

    def compute_metrics(
        self, task: TaskFields, processor: Any, names: Sequence[str]
    ) -> Callable[[Any], dict[str, float]]:
        """Return the function that computes the metrics from logits (rows x labels)."""
        import numpy as np

        def compute(predicted: Any) -> dict[str, float]:
            logits = np.asarray(predicted.predictions)
            return classification_metrics(logits, predicted.label_ids, task.metrics)

        return compute

    def evaluate(self, task: TaskFields, loaded: Loaded) -> Evaluated:
        """Return metrics and confusion matrix; a label that the model does not know is wrong."""
        import numpy as np

        config = loaded.model.config
        return evaluate(
            logits_of(loaded),
            np.asarray([row["label"] for row in loaded.rows]),
            known=[str(config.id2label[i]) for i in range(config.num_labels)],
            names=loaded.names,
            own=task.metrics,
        )
