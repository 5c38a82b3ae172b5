"""Splitting rows: deterministic, stratified, without duplicates, and never overlapping.

The second step of the prepare stage; it knows tables of input and label only. Rows are ordered
by a hash of their input, and the splits are cut from that order, test rows first. So the order of
the file does not matter, and a row that a model was trained on does not become a test row when
rows are added later, as long as the number of test rows stays the same and the test rows of no
label grow by more than its validation rows, which come between them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from hpo_pipeline.data.cleaning.labels import listed
from hpo_pipeline.data.cleaning.tally import Tally, totals
from hpo_pipeline.data.progress import Progress
from hpo_pipeline.data.row_table import Index, Part, RowTable
from hpo_pipeline.data.splitting.pools import ORDER, Pool, pools_of
from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.data_fields import Rows
from hpo_pipeline.tasks.kind import Form

DEFAULT_SHARE = 0.15


@dataclass(frozen=True)
class Splits:
    """The rows of each split and what became of the others.

    Attributes:
        tables: train, validation and test, each in a fixed order.
        counts: rows read, left out by reason, and used, of all splits together.
        notes: a sentence for each file or split of which rows were left out.
    """

    tables: dict[str, Part]
    counts: dict[str, int]
    notes: tuple[str, ...] = ()


def split(
    tables: Mapping[str, RowTable],
    rows: Rows,
    tallies: Mapping[str, Tally] | None = None,
    *,
    form: Form | None = None,
    progress: Progress | None = None,
) -> Splits:
    """Cut tables into train, validation and test rows.

    Args:
        tables: with a table `train`, and `validation` and `test` where the data come split.
        rows: how many rows each split gets.
        tallies: for each table, how many rows were read for it and why some are not in it.
        form: what the columns of the tables hold.

    Raises:
        DataError: too few rows, an empty split, one class only, or a label unseen in training.
    """
    known = tallies or {name: Tally(read=len(table)) for name, table in tables.items()}
    pools, counted = pools_of(tables, rows.seed, known, form or Form(), progress or Progress())
    given = set(pools)
    total = sum(len(pool) for pool in pools.values())
    wanted = _counts(rows, total, {name: len(pool) for name, pool in pools.items()})
    found: dict[str, Pool] = {}
    notes: list[str] = []
    for name in ORDER:
        source = name if name in given else "train"
        pool, count = pools[source], wanted[name]
        if name == "train" and rows.train is None:
            count = len(pool)  # also what splits of whole groups have left over
        if count == 0:
            raise DataError(_empty(name, source, counted[source], wanted, rows))
        if count > len(pool):
            raise DataError(
                f"task.rows.{name}: {count} rows asked, and {len(pool)} are left of {total} "
                f"different ones ({counted[source].sentence(source)}); ask for fewer rows"
            )
        taken = _taken(pool, count, is_cut_from_training=name not in given and name != "train")
        notes += _cut_notes(name, pool, taken, count)
        found[name] = pool.picked(taken)
        pools[source] = pool.without(taken)
    _check_labels(found)
    counted = {name: replace(t, unused=len(pools[name])) for name, t in counted.items()}
    return Splits(
        tables={name: found[name].part() for name in reversed(ORDER)},
        counts={**totals(counted.values()), "used": sum(len(pool) for pool in found.values())},
        notes=(*(t.sentence(name) for name, t in counted.items() if not t.is_whole), *notes),
    )


def _taken(pool: Pool, count: int, *, is_cut_from_training: bool) -> Index:
    """Return the places of the rows of a split in the pool that it is cut from."""
    if pool.moments is not None:
        return np.arange(len(pool) - count, len(pool))
    if pool.units is not None and is_cut_from_training:
        return _whole_units(pool.units, count)
    if pool.codes is not None and pool.units is None:
        return _stratified(pool.codes, count)
    return np.arange(count)


def _whole_units(units: Index, count: int) -> Index:
    """Return the rows of units, such as groups, that are together no more than `count`.

    Where even the smallest is larger, it is taken.
    """
    numbers, which, sizes = np.unique(units, return_inverse=True, return_counts=True)
    chosen = np.zeros(len(numbers), dtype=bool)
    left = count
    for i, size in enumerate(sizes):
        if size <= left:
            chosen[i] = True
            left -= int(size)
        if left == 0:
            break
    if left == count:
        chosen[int(np.argmin(sizes))] = True
    return np.flatnonzero(chosen[which.reshape(-1)])


def _cut_notes(name: str, pool: Pool, taken: Index, count: int) -> Iterator[str]:
    """Yield sentences on how a split differs from what was asked."""
    if len(taken) != count:
        yield (
            f"{name}: {len(taken):,} rows instead of {count:,}, because rows that belong together "
            f"are not divided."
        )
    moments = pool.moments
    if moments is None or name == "train" or not 0 < len(taken) < len(pool):
        return
    border = moments[int(taken[0])]
    same = int((moments == border).sum())
    if moments[int(taken[0]) - 1] == border:
        yield (
            f"{name}: {same:,} rows have the same date or number as its first one; a hash decides "
            f"which of them come before it."
        )


def _counts(rows: Rows, total: int, available: Mapping[str, int]) -> dict[str, int]:
    """Return how many rows each split gets.

    Shares are of all rows. Where all splits are shares, what rounding leaves over goes to the
    largest remainders, so that shares that add up to 1 use every row and no more.
    """
    counts: dict[str, int] = {}
    shares: dict[str, float] = {}
    for name, asked in (("test", rows.test), ("validation", rows.validation)):
        if asked is None and name in available:
            counts[name] = available[name]
        elif isinstance(asked, int):
            counts[name] = asked
        else:
            shares[name] = asked or DEFAULT_SHARE
    if isinstance(rows.train, float):
        shares["train"] = rows.train
        if sum(shares.values()) > 1 + 1e-9:
            text = ", ".join(f"{name} {share:g}" for name, share in sorted(shares.items()))
            raise DataError(f"task.rows: the shares add up to more than 1: {text}")
        return counts | _apportioned(shares, total, available)
    counts |= {name: round(total * share) for name, share in shares.items()}
    rest = available.get("train", 0) - sum(n for s, n in counts.items() if s not in available)
    counts["train"] = max(rest, 0) if rows.train is None else int(rows.train)
    return counts


def _apportioned(
    shares: Mapping[str, float], total: int, available: Mapping[str, int]
) -> dict[str, int]:
    exact = {name: share * total for name, share in shares.items()}
    quota = {name: int(value + 1e-9) for name, value in exact.items()}
    left = int(sum(exact.values()) + 1e-9) - sum(quota.values())
    for name in sorted(exact, key=lambda name: (quota[name] - exact[name], ORDER.index(name))):
        has_room = name not in available or name == "train" or quota[name] < available[name]
        if left > 0 and has_room:
            quota[name] += 1
            left -= 1
    return quota


def _stratified(codes: Index, count: int) -> Index:
    """Return the places of `count` rows with the labels in the pool's proportions.

    Each label gets the whole part of its share; what is left goes to the largest remainders.
    """
    labels, sizes = np.unique(codes, return_counts=True)
    exact = {
        int(label): count * int(n) / len(codes) for label, n in zip(labels, sizes, strict=True)
    }
    quota = {label: int(share) for label, share in exact.items()}
    # Labels are numbered in their order, so that ties are broken by it.
    by_remainder = sorted(exact, key=lambda label: (quota[label] - exact[label], label))
    for label in by_remainder[: count - sum(quota.values())]:
        quota[label] += 1
    order = np.argsort(codes, kind="stable")
    starts = np.cumsum([0, *sizes[:-1]])
    chosen = [order[s : s + quota[int(n)]] for s, n in zip(starts, labels, strict=True)]
    return np.sort(np.concatenate(chosen))


def _empty(name: str, source: str, tally: Tally, wanted: Mapping[str, int], rows: Rows) -> str:
    """Return why a split has no rows, and what to do about it."""
    text = f"task.rows.{name}: the split is empty. {tally.sentence(source)}"
    others = {n: count for n, count in wanted.items() if n not in (name, source) and count}
    same = next((s for s, n in tally.elsewhere.items() if n == tally.read), None)
    if name == source and same:
        advice = (
            f"They are the same rows as the {same} rows: take out one of the two files, and these "
            f"rows are cut from the training rows"
        )
    elif isinstance(asked := getattr(rows, name), float):
        advice = f"A share of {asked:g} of these rows is less than one row: ask for more"
    elif name == "train" and others:
        taken = " and ".join(f"{n} takes {count:,}" for n, count in others.items())
        advice = f"Of these, {taken}: ask for fewer, or add rows"
    else:
        advice = "Add rows, or say in task.rows how many each split gets"
    return f"{text} {advice}"


def _check_labels(found: Mapping[str, Pool]) -> None:
    train = found["train"]
    if train.codes is None:
        return
    trained = _labels(train)
    if len(trained) < 2:
        raise DataError(
            f"task.columns.label: two labels or more are needed, the training rows have only "
            f"{listed(sorted(trained))}"
        )
    for name in ("validation", "test"):
        unseen = sorted(_labels(found[name]) - trained)
        if unseen:
            verb = "occurs" if len(unseen) == 1 else "occur"
            raise DataError(
                f"task.columns.label: {listed(unseen)} {verb} in the {name} rows but in no "
                f"training row; add training rows of each label, or take these rows out"
            )


def _labels(pool: Pool) -> set[str]:
    """Return the different classes of a pool; rows with several have each of them."""
    assert pool.codes is not None
    return {
        label for code in np.unique(pool.codes) for label in pool.labels[code].split("\0") if label
    }
