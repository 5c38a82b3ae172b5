"""What every reader returns, and the limits that all of them keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

MAX_ROWS = 10_000_000
"""Rows of one file."""
MAX_BYTES = 2 * 2**30
"""Bytes of one file, unpacked."""

Pick = Callable[[Sequence[str]], tuple[str, str]]


@dataclass(frozen=True)
class RawTable:
    """Two columns of a file, with values as the format has them.

    Attributes:
        columns: the names of all columns of the file.
        inputs: one value a row; None where there is none.
        labels: one value a row; None where there is none.
        numbers: where each row is, from 1.
        unit: what `numbers` count: lines or rows.
        label_names: the names behind whole-number labels, where the file has them.
    """

    columns: Sequence[str]
    inputs: Sequence[object]
    labels: Sequence[object]
    numbers: Sequence[int]
    unit: str = "row"
    label_names: Sequence[str] | None = None

    def place(self, index: int) -> str:
        """Return where a row is, as a person would look it up."""
        return f"{self.unit} {self.numbers[index]:,}"


def check_rows(count: int) -> None:
    """Refuse a file with too many rows.

    Raises:
        ValueError: there are more than `MAX_ROWS`.
    """
    if count > MAX_ROWS:
        raise ValueError(f"it has {count:,} rows, and {MAX_ROWS:,} are allowed; take a sample")
