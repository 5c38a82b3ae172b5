"""Data sets of the Hugging Face hub, and those that `save_to_disk` wrote."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpo_pipeline.data import assets
from hpo_pipeline.data.cleaning.values import Rules
from hpo_pipeline.data.readers.arrow_files import ARROW_ERRORS, chunks, class_names
from hpo_pipeline.data.readers.source_file import CHUNK_ROWS, Chunk, Pick, RawFile, check_rows
from hpo_pipeline.data.tables.by_split import Open, Tables, tables_from_parts
from hpo_pipeline.data.tables.folders import split_of
from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.task import Task

_SAVED = ("state.json", "dataset_dict.json")
_FAULTS = (OSError, ValueError, RuntimeError, *ARROW_ERRORS)


def read_hub(task: Task, rules: Rules) -> Tables:
    """Load a data set from the hub; a folder of that name in the current folder is ignored.

    Raises:
        DataError: it cannot be loaded, or has no such splits; the message lists those it has.
    """
    import datasets

    name = task.sources[0]
    if Path(name).exists():
        raise DataError(
            f"task.data: {name!r} is in the current folder, but not beside the experiment "
            f"file, from where names are looked up; write its whole path"
        )
    datasets.disable_progress_bars()
    try:
        found: Any = datasets.load_dataset(name, task.subset, revision=task.revision)
    except _FAULTS as error:
        known = ", ".join(n for n, a in assets.ASSETS.items() if a.kind == "data")
        raise DataError(
            f"task.data: {name!r} is not an asset ({known}), no file or folder beside the "
            f"experiment file, and could not be loaded from the hub: {_first(error)}"
        ) from error
    shown = name if task.subset is None else f"{name}, {task.subset}"
    return tables_of(task, rules, found, f"hub {shown}")


def is_saved(folder: Path) -> bool:
    """Return whether `save_to_disk` of `datasets` wrote a folder."""
    return any((folder / name).is_file() for name in _SAVED)


def read_saved(task: Task, rules: Rules, folder: Path) -> Tables:
    """Read a folder that `save_to_disk` wrote, of one data set or of one for each split.

    Raises:
        DataError: it cannot be read, or has no such splits.
    """
    import datasets

    try:
        found = datasets.load_from_disk(str(folder))
    except _FAULTS as error:
        raise DataError(f"task.data: {folder} cannot be read: {_first(error)}") from error
    return tables_of(task, rules, found, folder.name)


def tables_of(task: Task, rules: Rules, found: Any, source: str) -> Tables:
    """Return the tables of a data set, or of one for each split, that `datasets` has loaded."""
    by_name: dict[str, Any] = dict(found) if isinstance(found, Mapping) else {"train": found}
    chosen, notes = _chosen(task, list(by_name), source)
    digest = hashlib.sha256()
    parts: dict[str, list[tuple[str, Open]]] = {}
    for split, name in chosen.items():
        digest.update(split.encode())
        parts[split] = [(f"{source}, {name}", _opener(by_name[name], digest))]
    tables = tables_from_parts(task.columns, parts, rules)
    return replace(tables, source=source, sha256=digest.hexdigest(), notes=(*notes, *tables.notes))


def _chosen(task: Task, names: list[str], source: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the names of the splits that are used, by what they are here, and what is not."""
    if task.splits:
        chosen = {str(split): name for split, name in task.splits.items()}
        if missing := [name for name in chosen.values() if name not in names]:
            raise DataError(
                f"task.splits: {source} has no split {missing[0]!r}; it has {', '.join(names)}"
            )
    else:
        chosen = {}
        for name in names:
            split = split_of(name)
            if split in chosen:
                raise DataError(
                    f"task.data: {source} has two splits that are {split} rows, {chosen[split]} "
                    f"and {name}; name one of them in task.splits"
                )
            if split is not None:
                chosen[split] = name
    if "train" not in chosen:
        raise DataError(
            f"task.splits: {source} has no split train; it has {', '.join(names)}; name the one "
            f"of the training rows: {{train: NAME}}"
        )
    passed = [name for name in names if name not in chosen.values()]
    return chosen, (f"Splits passed over: {', '.join(passed)}.",) if passed else ()


def _opener(split: Any, digest: Any) -> Open:
    def opened(pick: Pick) -> RawFile:
        check_rows(len(split))
        wanted = tuple(pick(split.column_names))
        schema = split.features.arrow_schema
        plain = split.select_columns(list(wanted)).with_format("arrow")
        rows = chunks(plain.iter(CHUNK_ROWS), wanted)
        names = class_names(schema)
        return RawFile(split.column_names, wanted, _hashed(rows, digest), "row", names)

    return opened


def _hashed(rows: Iterator[Chunk], digest: Any) -> Iterator[Chunk]:
    for chunk in rows:
        digest.update(repr(chunk.columns).encode("utf-8", "surrogatepass"))
        yield chunk


def _first(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
