"""`serving.json` in a model folder: how the model is served, and what its requests are like.

With it, a folder can be measured anywhere, without the data that it was trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.serve import Serve
from hpo_pipeline.experiment.space import as_tuple
from hpo_pipeline.results.files import write_json
from hpo_pipeline.tasks.inputs.base_config import one_line
from hpo_pipeline.tasks.kind import Row

SERVING_FILE = "serving.json"
REQUEST_LENGTHS = 256


class Record(Serve):
    """How a model is served, with facts on its requests where they are known.

    `request_lengths` are tokens of rows that it was measured on, evenly taken from all.
    """

    kind: str | None = None
    max_length: int | None = None
    request_lengths: Annotated[
        tuple[int, ...], Field(max_length=REQUEST_LENGTHS), BeforeValidator(as_tuple)
    ] = ()


def write_record(
    folder: Path,
    serve: Serve,
    *,
    kind: str,
    max_length: int,
    lengths: tuple[int, ...],
) -> None:
    """Write how the model of a folder is served."""
    record = Record(**serve.model_dump(), kind=kind, max_length=max_length, request_lengths=lengths)
    write_json(folder / SERVING_FILE, record.model_dump())


def lengths_of(rows: Sequence[Row], length: Callable[[Row], int]) -> tuple[int, ...]:
    """Return the lengths of at most REQUEST_LENGTHS rows; none where rows have no length."""
    count = min(len(rows), REQUEST_LENGTHS)
    found = tuple(length(rows[(2 * i + 1) * len(rows) // (2 * count)]) for i in range(count))
    return found if any(found) else ()


def read_record(folder: Path) -> Record:
    """Return how the model of a folder is served: as it is, unless the folder says otherwise.

    Raises:
        DataError: the file that says so cannot be read.
    """
    file = folder / SERVING_FILE
    if not file.exists():
        return Record()
    try:
        return Record.model_validate_json(file.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(
            f"{file}: does not say how the model is served: {one_line(error)}"
        ) from error
