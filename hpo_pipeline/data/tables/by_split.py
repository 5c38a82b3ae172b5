"""Tables of input and label by split, made of the files or data sets of each split.

A table is in Arrow, with the column `input` and, unless a kind of task learns from the inputs
alone, `label`, in the form of the kind; and with `group` or `order` where rows are split by them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow.compute as pc

from hpo_pipeline.data.cleaning.columns import Picker
from hpo_pipeline.data.cleaning.labels import REMEMBERED, check_classes, merged
from hpo_pipeline.data.cleaning.tally import Tally
from hpo_pipeline.data.cleaning.values import Rules, clean_rows
from hpo_pipeline.data.readers import read_file
from hpo_pipeline.data.readers.source_file import Pick, RawFile, SourceFile
from hpo_pipeline.data.row_table import RowStore, RowTable, schema_of
from hpo_pipeline.experiment.data_fields import Columns, as_names
from hpo_pipeline.tasks.kind import Form, Shape

Open = Callable[[Pick], RawFile]
"""Opens rows, given the function that chooses their columns."""


@dataclass(frozen=True)
class Tables:
    """Rows by split (`train` alone where the data have no splits), and where they come from.

    Attributes:
        source: for people: no passwords, no paths of this machine.
        sha256: of the content, whatever its place and time.
        tables: with the columns input and label.
        form: what the two columns hold.
        shape: height, width and channels of all images.
        tallies: by split, how many rows were read, and how many of them are not in its table.
        notes: sentences on what was left out, merged or changed.
    """

    source: str
    sha256: str
    tables: Mapping[str, RowTable]
    form: Form = field(default_factory=Form)
    shape: Shape | None = None
    tallies: Mapping[str, Tally] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def tables_from_files(
    columns: Columns,
    files: Mapping[str, Sequence[SourceFile]],
    rules: Rules,
    *,
    source: str = "",
    notes: tuple[str, ...] = (),
) -> Tables:
    """Read the files of each split.

    Args:
        files: by split.
        source: the folder of the files, for people.
        notes: sentences on the choice of the files.

    Raises:
        DataError: a file cannot be read, lacks a column, or does not hold what the form says.
    """
    digest = hashlib.sha256()
    parts: dict[str, list[tuple[str, Open]]] = {}
    is_tagged = rules.form.input == "words" and rules.form.label == "tags"
    for split, found in files.items():
        digest.update(split.encode())
        parts[split] = []
        for file in found:
            with file.path.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
            parts[split].append((file.name, _opener(file, is_tagged)))
    every = [file for found in files.values() for file in found]
    names = shown_names([file.name for file in every])
    read = tables_from_parts(columns, parts, rules)
    return Tables(
        f"{source}: {names}" if source else names,
        digest.hexdigest(),
        read.tables,
        rules.form,
        tallies=read.tallies,
        notes=(*notes, *(note for file in every for note in file.notes), *read.notes),
    )


def tables_from_parts(
    columns: Columns, parts: Mapping[str, Sequence[tuple[str, Open]]], rules: Rules
) -> Tables:
    """Apply the rules for inputs and labels to the parts of each split, by their names.

    Raises:
        DataError: a row does not hold what the form says, or the labels are not classes.
    """
    tables: dict[str, RowTable] = {}
    tallies: dict[str, Tally] = {}
    spellings = []
    unused: dict[str, None] = {}
    schema = schema_of(rules.form, group=columns.group is not None, order=columns.order is not None)
    label = ""
    for split, found in parts.items():
        store, tally = RowStore(schema), Tally()
        for name, opened in found:
            picker = Picker(columns, rules.form, name)
            rules.progress.start(f"Reading {name}")
            raw = opened(picker)
            counted, ways = clean_rows(raw, picker.chosen, rules, name, store)
            tally += counted
            spellings.append(ways)
            unused |= dict.fromkeys(picker.unused(raw.columns))
            label = label or ", ".join(picker.chosen.labels)
        tables[split] = store.table()
        tallies[split] = tally
    if rules.form.label == "class":
        _check_classes(tables.values(), ", ".join(as_names(columns.label)) or label)
    notes: tuple[str, ...] = ()
    if unused:
        notes = (f"Columns that are not used: {', '.join(list(unused)[:10])}.",)
    notes += (*rules.bad_rows.notes(), *merged(spellings))
    return Tables("", "", tables, rules.form, tallies=tallies, notes=notes)


def shown_names(names: Sequence[str]) -> str:
    """Return the names of files, the first few of many."""
    more = f" and {len(names) - 6:,} more" if len(names) > 6 else ""
    return ", ".join(names[:6]) + more


def _opener(file: SourceFile, is_tagged: bool) -> Open:
    return lambda pick: read_file(file, pick, is_tagged=is_tagged)


def _check_classes(tables: Iterable[RowTable], column: str) -> None:
    different: dict[str, None] = {}
    rows = 0
    for table in tables:
        labels = pc.unique(table.table.column("label"))
        # Where there are so many, the first are enough to say that they are no classes.
        different |= dict.fromkeys(labels[: 2 * REMEMBERED].to_pylist())
        rows += len(table)
    check_classes(list(different), rows, column)
