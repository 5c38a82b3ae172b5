"""What each test row adds to the metrics, so that rows can be drawn again.

A bootstrap draws the rows thousands of times. Metrics of a drawn sample follow from a few sums over
its rows, so that all samples are computed at once as one product of matrices; those of ranks need
the order of the rows besides.

| form    | columns (numbers of each row)              | metrics                      |
| ------- | ------------------------------------------ | ---------------------------- |
| classes | label, answer, loss, ranks of the scores   | one label a row              |
| numbers | label, answer                              | a regression                 |
| labels  | truth, answer, ranks by label, loss        | several labels a row         |
| words   | right, answered, wanted by tag or type     | tags of words, entities      |
| tokens  | nats, tokens, right, bytes, unknown        | a language model             |
| texts   | n-grams by sacrebleu, scores of each text  | texts that are written       |
| means   | a column for each metric                   | the mean of each column      |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from hpo_pipeline.tasks.row_metrics.classes import of_classes
from hpo_pipeline.tasks.row_metrics.labels import of_labels
from hpo_pipeline.tasks.row_metrics.numbers import of_numbers
from hpo_pipeline.tasks.row_metrics.texts import of_texts
from hpo_pipeline.tasks.row_metrics.tokens import of_tokens
from hpo_pipeline.tasks.row_metrics.words import of_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

Form = Literal["classes", "numbers", "labels", "words", "tokens", "texts", "means"]


@dataclass(frozen=True)
class RowSums:
    """The test rows as one model answers them, in the order of the data.

    Attributes:
        columns: each with a number for each row, or several (rows x numbers).
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
                    return of_classes(self.columns, counts, self.labels)
                case "numbers":
                    return of_numbers(self.columns, counts)
                case "labels":
                    return of_labels(self.columns, counts, self.labels)
                case "words":
                    return of_words(self.columns, counts)
                case "tokens":
                    return of_tokens(self.columns, counts)
                case "texts":
                    return of_texts(self.columns, counts)
            sizes = counts.sum(axis=1)
            return {name: counts @ column / sizes for name, column in self.columns.items()}


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
    sizes = {column.shape[:1] for column in columns.values()}
    if form not in get_args(Form) or len(sizes) != 1 or sizes == {()}:
        return None
    return RowSums(form, columns, labels)  # type: ignore[arg-type]
