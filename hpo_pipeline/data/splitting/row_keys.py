"""What makes two rows the same: a hash of the input, which is also the order of the rows.

Texts that differ in case and space only are the same. The order of the hashes is that of the
hexadecimal digests of SHA-256, of which they are the first half.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo_pipeline.data.progress import Progress
from hpo_pipeline.data.row_table import RowTable

Keys = NDArray[np.uint64]
"""Rows x 2: the first 128 bits of a hash, the higher half first."""


def input_keys(table: RowTable, seed: int, progress: Progress) -> Keys:
    """Return the hash of each row's input."""
    content = _content_of(table, "input")
    salt = f"{seed}:".encode()
    return _hashed(table, ["input"], lambda row: salt + content(row[0]), progress)


def group_keys(table: RowTable, seed: int, inputs: Keys) -> Keys:
    """Return the hash of each row's group; a row without one is a group by itself."""
    salt = f"{seed}:".encode()
    keys = _hashed(table, ["group"], lambda row: salt + (row[0] or "").encode(), Progress())
    alone = np.array([value is None or value == "" for value in table["group"]], dtype=bool)
    keys[alone] = inputs[alone]
    return keys


def label_keys(table: RowTable) -> Keys:
    """Return the hash of each row's label."""
    content = _content_of(table, "label")
    return _hashed(table, ["label"], lambda row: content(row[0]), Progress())


def numbered(parts: Iterable[Keys]) -> list[NDArray[np.int64]]:
    """Return the place of each hash among all that differ, for each part."""
    found = list(parts)
    every = np.concatenate(found) if found else np.empty((0, 2), dtype=np.uint64)
    order = np.lexsort((every[:, 1], every[:, 0]))
    ordered = every[order]
    is_new = np.ones(len(ordered), dtype=bool)
    is_new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    places = np.empty(len(ordered), dtype=np.int64)
    places[order] = np.cumsum(is_new) - 1
    return np.split(places, np.cumsum([len(part) for part in found])[:-1])


def _hashed(
    table: RowTable, names: list[str], content: Callable[[tuple[Any, ...]], bytes], to: Progress
) -> Keys:
    digests = bytearray()
    sha256 = hashlib.sha256
    for batch in table.table.select(names).to_batches(max_chunksize=8192):
        columns = [column.to_pylist() for column in batch.columns]
        for row in zip(*columns, strict=True):
            digests += sha256(content(row)).digest()[:16]
        to.add(batch.num_rows)
    return np.frombuffer(bytes(digests), dtype=">u8").astype(np.uint64).reshape(-1, 2)


def _content_of(table: RowTable, name: str) -> Callable[[Any], bytes]:
    kind = str(table.table.schema.field(name).type)
    if kind == "string":
        return _text_content
    return bytes if kind == "binary" else _other_content


def _text_content(value: str) -> bytes:
    return " ".join(value.casefold().split()).encode()


def _other_content(value: Any) -> bytes:
    return json.dumps(_folded(value), ensure_ascii=False, sort_keys=True).encode()


def _folded(value: Any) -> Any:
    if isinstance(value, str):
        return " ".join(value.casefold().split())
    if isinstance(value, list):
        return [_folded(entry) for entry in value]
    if isinstance(value, dict):
        return {key: _folded(entry) for key, entry in value.items()}
    return value
