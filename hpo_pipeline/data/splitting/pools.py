"""The different rows that splits are cut from: each input once, in one pool, in a fixed order.

Rows are ordered by a hash of their input, or by date where the experiment asks for it. Where
labels are free texts, numbers or tags, rows with one input and different labels all count, and
stay together like those of a group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hpo_pipeline.data.cleaning.tally import Tally
from hpo_pipeline.data.progress import Progress
from hpo_pipeline.data.row_table import Index, Part, RowTable
from hpo_pipeline.data.splitting.row_keys import group_keys, input_keys, label_keys, numbered
from hpo_pipeline.tasks.kind import Form

ORDER = ("test", "validation", "train")
_VOTED = ("class", "classes")
"""Forms of labels of which an input has only one that is right."""


@dataclass(frozen=True)
class Pool:
    """Rows that splits are cut from, in order.

    Attributes:
        rows: the table.
        index: their places in it.
        codes: the number of each row's label, in the order of `labels`; None for other forms.
        labels: each class once, in order.
        units: the number of what must not be in two splits; None where that is a row.
        moments: what rows are ordered by; None where that is a hash.
    """

    rows: RowTable
    index: Index
    codes: Index | None
    labels: Sequence[str]
    units: Index | None
    moments: NDArray[np.float64] | None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.index)

    def part(self) -> Part:
        """Return the rows."""
        return Part(self.rows, self.index)

    def picked(self, chosen: NDArray[Any]) -> Pool:
        """Return some rows: by their places in the pool, or a truth value for each."""
        return replace(
            self,
            index=self.index[chosen],
            codes=None if self.codes is None else self.codes[chosen],
            units=None if self.units is None else self.units[chosen],
            moments=None if self.moments is None else self.moments[chosen],
        )

    def without(self, places: Index) -> Pool:
        """Return the other rows."""
        others = np.ones(len(self), dtype=bool)
        others[places] = False
        return self.picked(others)


def pools_of(
    tables: Mapping[str, RowTable],
    seed: int,
    tallies: Mapping[str, Tally],
    form: Form,
    progress: Progress,
) -> tuple[dict[str, Pool], dict[str, Tally]]:
    """Keep each input once: in the test pool if it is there, then in the validation pool."""
    names = [name for name in ORDER if name in tables]
    progress.start("Comparing rows", sum(len(tables[name]) for name in names))
    keys = [input_keys(tables[name], seed, progress) for name in names]
    ids = numbered(keys)
    is_grouped = [name for name in names if "group" in tables[name].names]
    if is_grouped:
        found = [group_keys(tables[n], seed, k) for n, k in zip(names, keys, strict=True)]
        units: list[Index | None] = [*numbered(found)]
    else:
        units = [None if form.label in (*_VOTED, None) else own for own in ids]
    coded = _codes([tables[name] for name in names], form)
    seen = _Seen(names, ids)
    seen_units = _Seen(names, [u for u in units if u is not None])
    pools: dict[str, Pool] = {}
    counted: dict[str, Tally] = {}
    for i, name in enumerate(names):
        table, own = tables[name], ids[i]
        codes, labels = coded[i]
        moments = _moments(table)
        index, tally = _different(table, own, codes, form, moments, tallies[name])
        pool = Pool(table, index, codes, labels, units[i], moments)
        pool = pool if codes is None else replace(pool, codes=codes[index])
        pool = pool if moments is None else replace(pool, moments=moments[index])
        unit = units[i]
        pool = pool if unit is None else replace(pool, units=unit[index])
        places = seen.of(own[index])
        if pool.units is not None and is_grouped:
            places = np.where(places < 0, seen_units.of(pool.units), places)
        elsewhere = np.bincount(places[places >= 0], minlength=len(names))
        by_count = sorted(range(len(names)), key=lambda n: -elsewhere[n])
        found_at = {names[n]: int(elsewhere[n]) for n in by_count if elsewhere[n]}
        counted[name] = replace(tally, elsewhere=found_at)
        fresh = pool.picked(places < 0)
        seen.add(own[fresh.index], i)
        if fresh.units is not None:
            seen_units.add(fresh.units, i)
        pools[name] = fresh
    return pools, counted


class _Seen:
    """In which pool a number was seen first."""

    def __init__(self, names: Sequence[str], numbers: Sequence[Index]) -> None:
        highest = max((int(part.max(initial=-1)) for part in numbers), default=-1)
        self._places = np.full(highest + 1, -1, dtype=np.int8)

    def of(self, numbers: Index) -> NDArray[np.int64]:
        return self._places[numbers].astype(np.int64)

    def add(self, numbers: Index, place: int) -> None:
        self._places[numbers] = place


def _codes(tables: Sequence[RowTable], form: Form) -> list[tuple[Index | None, list[str]]]:
    """Return the number of each row's class, the same in all tables."""
    if form.label not in _VOTED:
        return [(None, []) for _ in tables]
    columns = [_class_column(table, form) for table in tables]
    encoded = [column.combine_chunks().dictionary_encode() for column in columns]
    labels = sorted({label for part in encoded for label in part.dictionary.to_pylist()})
    numbers = {label: i for i, label in enumerate(labels)}
    found: list[tuple[Index | None, list[str]]] = []
    for part in encoded:
        own = [numbers[label] for label in part.dictionary.to_pylist()]
        to_all = np.array(own, dtype=np.int64)
        found.append((to_all[part.indices.to_numpy(zero_copy_only=False)], labels))
    return found


def _class_column(table: RowTable, form: Form) -> Any:
    if form.label == "class":
        return table.table.column("label")
    joined = ["\0".join(sorted(several)) for several in table["label"]]
    return pa.chunked_array([pa.array(joined, pa.string())])


def _moments(table: RowTable) -> NDArray[np.float64] | None:
    if "order" not in table.names:
        return None
    moments: NDArray[np.float64] = table.table.column("order").to_numpy()
    return moments


def _different(
    table: RowTable,
    ids: Index,
    codes: Index | None,
    form: Form,
    moments: NDArray[np.float64] | None,
    tally: Tally,
) -> tuple[Index, Tally]:
    """Keep one row of each input: with the label that most of its rows have, else none.

    Returns:
        the places of the rows that are kept, in order, and the counts of the others.
    """
    repeated = np.flatnonzero(np.bincount(ids, minlength=1)[ids] > 1) if len(ids) else ids
    ordered = _ordered(table, repeated, ids, moments)
    outvoted = contradicting = 0
    labels = None if form.label in (*_VOTED, None) else _label_numbers(table, ordered)
    if codes is not None:
        ordered, outvoted, contradicting = _voted(ordered, ids, codes)
    kept = ordered[_firsts(ids[ordered], labels)]
    alone = np.ones(len(ids), dtype=bool)
    alone[repeated] = False
    index = np.concatenate([np.flatnonzero(alone), kept])
    equal = len(ids) - len(index) - outvoted - contradicting
    order = np.argsort(ids[index], kind="stable")
    if moments is not None:
        order = np.lexsort((ids[index], moments[index]))
    counted = replace(tally, equal=equal, outvoted=outvoted, contradicting=contradicting)
    return index[order], counted


def _ordered(
    table: RowTable, places: Index, ids: Index, moments: NDArray[np.float64] | None
) -> Index:
    """Return places ordered by input: latest first, and the least text first, wherever it is."""
    if not len(places):
        return places
    columns: dict[str, Any] = {"id": ids[places]}
    if moments is not None:
        columns["moment"] = -moments[places]
    taken = table.take(places)
    for name in [name for name in ("input", "label") if name in table.names]:
        column = taken.column(name)
        if pa.types.is_nested(column.type):
            column = pa.array([repr(value) for value in column.to_pylist()])
        columns[name] = column
    keys = [(name, "ascending") for name in columns]
    indices = pc.sort_indices(pa.table(columns), sort_keys=keys)
    found: Index = places[indices.to_numpy()]
    return found


def _label_numbers(table: RowTable, places: Index) -> Index:
    taken = RowTable(table.take(places))
    (found,) = numbered([label_keys(taken)])
    return found


def _firsts(ids: Index, labels: Index | None) -> NDArray[np.bool_]:
    """Return which rows are the first with their input (and label), of rows ordered by input."""
    first = np.ones(len(ids), dtype=bool)
    if labels is None:
        first[1:] = ids[1:] != ids[:-1]
        return first
    pairs = np.stack([ids, labels], axis=1)
    _, firsts = np.unique(pairs, axis=0, return_index=True)
    first[:] = False
    first[firsts] = True
    return first


def _voted(ordered: Index, ids: Index, codes: Index) -> tuple[Index, int, int]:
    """Return the rows whose label has a majority, and how many rows others have, or none has."""
    if not len(ordered):
        return ordered, 0, 0
    own = ids[ordered]
    pairs = np.stack([own, codes[ordered]], axis=1)
    votes, which, counts = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
    starts = np.flatnonzero(np.r_[True, votes[1:, 0] != votes[:-1, 0]])
    totals = np.add.reduceat(counts, starts)
    group = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(votes)]))
    wins = counts * 2 > totals[group]
    has_winner = np.bitwise_or.reduceat(wins, starts)
    row_wins = wins[which.reshape(-1)]
    row_decided = has_winner[group[which.reshape(-1)]]
    outvoted = int((row_decided & ~row_wins).sum())
    return ordered[row_wins], outvoted, int((~row_decided).sum())
