"""Tables of input and label by split, made of the files or rows of each split.

A table is a pandas frame with the columns `input` (text, or the bytes of an image) and `label`
(text).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from hpo_pipeline.data.columns import clean_rows, picker, unused_columns
from hpo_pipeline.data.labels import check_classes, merged
from hpo_pipeline.data.readers import read_file
from hpo_pipeline.data.readers.raw_table import RawTable
from hpo_pipeline.data.tally import Tally
from hpo_pipeline.experiment.task import Columns


@dataclass(frozen=True)
class Tables:
    """Rows by split (`train` alone where the data have no splits), and where they come from.

    Attributes:
        source: for people: no passwords, no paths of this machine.
        sha256: of the content, whatever its place and time.
        tables: frames with the columns input and label.
        shape: height, width and channels of all images.
        tallies: by split, how many rows were read, and how many of them are not in its table.
        notes: sentences on what was left out, merged or changed.
    """

    source: str
    sha256: str
    tables: dict[str, pd.DataFrame]
    shape: tuple[int, int, int] | None = None
    tallies: Mapping[str, Tally] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def tables_from_files(
    columns: Columns,
    contents: Mapping[str, Sequence[tuple[str, bytes]]],
    *,
    source: str = "",
    notes: tuple[str, ...] = (),
) -> Tables:
    """Read the files of each split.

    Args:
        contents: by split, names and contents of its files.
        source: the folder of the files, for people.
        notes: sentences on the choice of the files.

    Raises:
        DataError: a file cannot be read, lacks a column, or does not hold texts and classes.
    """
    digest = hashlib.sha256()
    raw: dict[str, list[tuple[str, RawTable]]] = {}
    for split, files in contents.items():
        digest.update(split.encode())
        raw[split] = []
        for name, content in files:
            digest.update(hashlib.sha256(content).digest())
            raw[split].append((name, read_file(name, content, picker(columns, name))))
    names = ", ".join(name for files in contents.values() for name, _ in files)
    source = f"{source}: {names}" if source else names
    return tables_from_raw(columns, raw, source, digest.hexdigest(), notes)


def tables_from_raw(
    columns: Columns,
    raw: Mapping[str, Sequence[tuple[str, RawTable]]],
    source: str,
    sha256: str,
    notes: tuple[str, ...],
) -> Tables:
    """Apply the rules for inputs and labels to the raw tables of each split, by their names.

    Raises:
        DataError: a row does not hold a text and a class, or the labels are not classes.
    """
    tables: dict[str, pd.DataFrame] = {}
    tallies: dict[str, Tally] = {}
    spellings = []
    unused: dict[str, None] = {}
    for split, parts in raw.items():
        frames, tally = [], Tally()
        for name, part in parts:
            frame, counted, labels = clean_rows(part, columns, name)
            frames.append(frame)
            tally += counted
            spellings.append(labels.spellings)
            unused |= dict.fromkeys(unused_columns(part, columns, name))
        tables[split] = pd.concat(frames, ignore_index=True)
        tallies[split] = tally
    check_classes([label for table in tables.values() for label in table["label"]], columns.label)
    if unused:
        notes += (f"Columns that are not used: {', '.join(list(unused)[:10])}.",)
    return Tables(source, sha256, tables, tallies=tallies, notes=(*notes, *merged(spellings)))
