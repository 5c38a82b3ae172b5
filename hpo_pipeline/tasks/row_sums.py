"""What each test row adds to the sums that metrics are made of, so that rows can be drawn again.

A bootstrap draws the rows thousands of times. Metrics of a drawn sample follow from a few sums over
its rows, so that all samples are computed at once as one product of matrices. A metric that is no
function of such sums, as the area under a ROC curve or BLEU, is not among them.

| form    | columns                  | metrics                                   |
| ------- | ------------------------ | ----------------------------------------- |
| classes | label, answer, loss      | those of one label a row, but for roc_auc |
| numbers | label, answer            | those of a regression, but for spearman   |
| means   | a column for each metric | the mean of each column                   |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

Form = Literal["classes", "numbers", "means"]
NOT_OF_SUMS = "it is not a function of sums over rows"


@dataclass(frozen=True)
class RowSums:
    """The test rows as one model answers them, in the order of the data.

    Attributes:
        columns: each with a number for each row.
        labels: how many labels the data have; answers from there on are wrong anyway.
    """

    form: Form
    columns: Mapping[str, Array]
    labels: int = 0

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def in_order(self, places: Array) -> RowSums:
        """Return the rows in another order: row i goes to `places[i]`."""
        import numpy as np

        back = np.argsort(places)
        return RowSums(self.form, {n: c[back] for n, c in self.columns.items()}, self.labels)

    def metrics(self, counts: Array) -> dict[str, Array]:
        """Return the metrics of samples of the rows, a number for each.

        Args:
            counts: how often each row is in each sample (samples x rows).
        """
        import numpy as np

        with np.errstate(divide="ignore", invalid="ignore"):
            match self.form:
                case "classes":
                    return _of_classes(self, counts)
                case "numbers":
                    return _of_numbers(self, counts)
            sizes = counts.sum(axis=1)
            return {name: counts @ column / sizes for name, column in self.columns.items()}


def _of_classes(rows: RowSums, counts: Array) -> dict[str, Array]:
    """Return the metrics of one label a row, as scikit-learn computes them.

    All of them follow from three counts for each label: rows that have it, rows that got it as
    their answer, and rows of both.
    """
    import numpy as np

    label, answer = (rows.columns[n].astype(int) for n in ("label", "answer"))
    width = max(int(answer.max(initial=0)), int(label.max(initial=0)), rows.labels - 1) + 1
    weights = counts.astype(float)
    has = weights @ _one_hot(label, width)
    got = weights @ _one_hot(answer, width)
    both = weights @ _one_hot(np.where(label == answer, label, width), width + 1)
    both = both[:, :width]
    size, right = weights.sum(axis=1), both.sum(axis=1)
    found = {"accuracy": right / size, "loss": weights @ rows.columns["loss"] / size}
    recalls = np.where(has > 0, both / has, np.nan)
    found["balanced_accuracy"] = np.nanmean(recalls, axis=1)
    spread = (size**2 - (got**2).sum(axis=1)) * (size**2 - (has**2).sum(axis=1))
    mcc = (right * size - (got * has).sum(axis=1)) / np.sqrt(spread)
    found["matthews_corrcoef"] = np.where(spread > 0, mcc, 0.0)
    own = slice(0, rows.labels)
    each = {
        "precision": _ratio(both, got)[:, own],
        "recall": _ratio(both, has)[:, own],
        "f1": _ratio(2 * both, has + got)[:, own],
    }
    shares = _ratio(has[:, own], has[:, own].sum(axis=1, keepdims=True))
    for name, values in each.items():
        found[f"{name}_macro"] = values.mean(axis=1)
        found[f"{name}_weighted"] = (values * shares).sum(axis=1)
        found[name] = values[:, 1] if rows.labels == 2 else found[f"{name}_macro"]
    return found


def _of_numbers(rows: RowSums, counts: Array) -> dict[str, Array]:
    import numpy as np

    y, x = rows.columns["label"], rows.columns["answer"]
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
    }


def _one_hot(places: Array, width: int) -> Any:
    """Return a sparse matrix (rows x width) with a one at the place of each row."""
    import numpy as np
    from scipy.sparse import csr_matrix

    rows = np.arange(len(places))
    return csr_matrix((np.ones(len(places)), (rows, places)), shape=(len(places), width))


def _ratio(part: Array, whole: Array) -> Array:
    """Return shares; 0 where there is nothing to have a share of."""
    import numpy as np

    result: Array = np.where(whole > 0, part / np.where(whole > 0, whole, 1), 0.0)
    return result


def write_rows(path: Any, rows: RowSums) -> None:
    """Write rows to a file.

    Raises:
        OSError: it cannot be written.
    """
    import numpy as np

    content: dict[str, Any] = {f"column.{name}": c for name, c in rows.columns.items()}
    np.savez_compressed(path, **content, form=rows.form, labels=rows.labels)


def read_rows(path: Any) -> RowSums | None:
    """Return the rows in a file; None where there is none, or it is damaged.

    Nothing but plain arrays is read: a file may come from a storage that others can write.
    """
    import zipfile

    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as found:
            names = [name for name in found.files if name.startswith("column.")]
            columns = {name.removeprefix("column."): found[name] for name in names}
            form, labels = str(found["form"]), int(found["labels"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    sizes = {column.shape for column in columns.values()}
    if form not in ("classes", "numbers", "means") or len(sizes) != 1:
        return None
    return RowSums(form, columns, labels)  # type: ignore[arg-type]
