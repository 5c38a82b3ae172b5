"""A prepared dataset on disk: what it is keyed by and what describes it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from hpo_pipeline.errors import DataError
from hpo_pipeline.results.files import DATASET_FILE
from hpo_pipeline.tasks.kind import Shape

PROCESSOR_FOLDER = "processor"


@dataclass(frozen=True)
class DatasetMeta:
    """What is known about a prepared dataset; `dataset.json` in its folder.

    Attributes:
        fingerprint: of everything that decides the content of the folder.
        kind: the kind of task that the rows are encoded for.
        source: where the data come from, for people.
        data_sha256: of the raw data alone, whatever the experiment does with them.
        labels: in the order of their class numbers.
        rows: by split.
        majority: the share of the most frequent class of the test rows; 0 without classes.
        max_length: tokens of a text; longer ones are cut.
        shape: height, width and channels of images.
        notes: sentences on what was left out, merged or cut.
        varied: fields of the task that trials choose and that decide the encoding.
        counts: rows read, left out by reason, and used (see `Tally`).
    """

    fingerprint: str
    kind: str
    source: str
    data_sha256: str
    labels: list[str]
    rows: dict[str, int]
    majority: float
    max_length: int
    shape: list[int] | None
    notes: list[str]
    counts: dict[str, int]
    varied: list[str] = field(default_factory=list)

    @property
    def image_shape(self) -> Shape | None:
        """Height, width and channels of the images; None where the data are none."""
        if self.shape is None:
            return None
        height, width, channels = self.shape
        return height, width, channels

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return the metadata of a prepared dataset.

        Raises:
            DataError: the folder holds none.
        """
        try:
            return cls(**json.loads((folder / DATASET_FILE).read_text("utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise DataError(f"{folder}: is not a prepared dataset ({error})") from error

    def require(self, fingerprint: str | None) -> None:
        """Check that these are the data of a run, whose fingerprint is given if it is known.

        Raises:
            DataError: they are others.
        """
        if fingerprint is not None and fingerprint != self.fingerprint:
            raise DataError(
                f"the data ({self.source}) have changed since this run was started, and its trials "
                f"cannot be compared with what is trained or measured now; start a new run"
            )
