"""Splitting rows: deterministic, stratified, without duplicates, and never overlapping.

The second step of the prepare stage; it knows tables of input and label only. Rows are ordered
by a hash of their input, and the splits are cut from that order, test rows first. So the order of
the file does not matter, and a row that a model was trained on does not become a test row when
rows are added later, as long as the number of test rows stays the same and the test rows of no
label grow by more than its validation rows, which come between them.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

import pandas as pd

from hpo_pipeline.data.labels import listed
from hpo_pipeline.data.tally import Tally, totals
from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.task import Rows

ORDER = ("test", "validation", "train")
DEFAULT_SHARE = 0.15


@dataclass(frozen=True)
class Splits:
    """The rows of each split and what became of the others.

    Attributes:
        tables: train, validation and test, each in a fixed order.
        counts: rows read, left out by reason, and used, of all splits together.
        notes: a sentence for each file or split of which rows were left out.
    """

    tables: dict[str, pd.DataFrame]
    counts: dict[str, int]
    notes: tuple[str, ...] = ()


def split(
    tables: Mapping[str, pd.DataFrame], rows: Rows, tallies: Mapping[str, Tally] | None = None
) -> Splits:
    """Cut tables into train, validation and test rows.

    Args:
        tables: with a table `train`, and `validation` and `test` where the data come split.
        rows: how many rows each split gets.
        tallies: for each table, how many rows were read for it and why some are not in it.

    Raises:
        DataError: too few rows, an empty split, one class only, or a label unseen in training.
    """
    known = tallies or {name: Tally(read=len(table)) for name, table in tables.items()}
    pools, counted = _pools(tables, rows.seed, known)
    given = set(pools)
    total = sum(len(pool) for pool in pools.values())
    wanted = _counts(rows, total, {name: len(pool) for name, pool in pools.items()})
    found: dict[str, pd.DataFrame] = {}
    for name in ORDER:
        source = name if name in given else "train"
        pool, count = pools[source], wanted[name]
        if count == 0:
            raise DataError(_empty(name, source, counted[source], wanted, rows))
        if count > len(pool):
            raise DataError(
                f"task.rows.{name}: {count} rows asked, and {len(pool)} are left of {total} "
                f"different ones ({counted[source].sentence(source)}); ask for fewer rows"
            )
        taken = _stratified(pool, count)
        found[name] = pool.loc[taken].reset_index(drop=True)
        pools[source] = pool.drop(taken)
    _check_labels(found)
    counted = {name: replace(t, unused=len(pools[name])) for name, t in counted.items()}
    return Splits(
        tables={name: found[name] for name in reversed(ORDER)},
        counts={**totals(counted.values()), "used": sum(len(table) for table in found.values())},
        notes=tuple(t.sentence(name) for name, t in counted.items() if not t.is_whole),
    )


def _pools(
    tables: Mapping[str, pd.DataFrame], seed: int, tallies: Mapping[str, Tally]
) -> tuple[dict[str, pd.DataFrame], dict[str, Tally]]:
    """Keep each input once: in the test pool if it is there, then in the validation pool."""
    seen: dict[str, str] = {}
    pools: dict[str, pd.DataFrame] = {}
    counted: dict[str, Tally] = {}
    for name in (n for n in ORDER if n in tables):
        pool, tally = _different(_ordered(tables[name], seed), tallies[name])
        places = pool["_key"].map(seen)
        elsewhere = {str(n): int(count) for n, count in places.value_counts().items()}
        fresh = pool[places.isna()]
        counted[name] = replace(tally, elsewhere=elsewhere)
        seen |= dict.fromkeys(fresh["_key"], name)
        pools[name] = fresh.drop(columns="_key").set_axis(range(len(fresh)))
    return pools, counted


def _ordered(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    key = [_hash(value, seed) for value in table["input"]]
    # Of inputs that count as the same, the least is kept, wherever it is in the file.
    return table.assign(_key=key).sort_values(["_key", "input", "label"])


def _hash(value: str | bytes, seed: int) -> str:
    if isinstance(value, str):
        value = " ".join(value.casefold().split()).encode()
    return hashlib.sha256(f"{seed}:".encode() + value).hexdigest()


def _different(pool: pd.DataFrame, tally: Tally) -> tuple[pd.DataFrame, Tally]:
    """Keep one row of each input: with the label that most of its rows have, else none."""
    repeated = pool[pool["_key"].duplicated(keep=False)]
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for key, label in zip(repeated["_key"], repeated["label"], strict=True):
        votes[key][label] += 1
    chosen: dict[str, str | None] = {}
    outvoted = contradicting = 0
    for key, of_labels in votes.items():
        label, most = of_labels.most_common(1)[0]
        if most * 2 > of_labels.total():
            chosen[key] = label
            outvoted += of_labels.total() - most
        else:
            chosen[key] = None
            contradicting += of_labels.total()
    pairs = zip(pool["_key"], pool["label"], strict=True)
    kept = pool.loc[[chosen.get(key, label) == label for key, label in pairs]]
    kept = kept[~kept["_key"].duplicated()]
    equal = len(pool) - len(kept) - outvoted - contradicting
    return kept, replace(tally, equal=equal, outvoted=outvoted, contradicting=contradicting)


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


def _stratified(pool: pd.DataFrame, count: int) -> list[int]:
    """Return the index of `count` rows with the labels in the pool's proportions.

    Each label gets the whole part of its share; what is left goes to the largest remainders.
    """
    groups = {name: list(group.index) for name, group in pool.groupby("label", sort=True)}
    shares = {name: count * len(group) / len(pool) for name, group in groups.items()}
    quota = {name: int(share) for name, share in shares.items()}
    by_remainder = sorted(groups, key=lambda name: (quota[name] - shares[name], name))
    for name in by_remainder[: count - sum(quota.values())]:
        quota[name] += 1
    return sorted(i for name, group in groups.items() for i in group[: quota[name]])


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


def _check_labels(found: Mapping[str, pd.DataFrame]) -> None:
    trained = set(found["train"]["label"])
    if len(trained) < 2:
        raise DataError(
            f"task.columns.label: two labels or more are needed, the training rows have only "
            f"{listed(sorted(trained))}"
        )
    for name in ("validation", "test"):
        unseen = sorted(set(found[name]["label"]) - trained)
        if unseen:
            verb = "occurs" if len(unseen) == 1 else "occur"
            raise DataError(
                f"task.columns.label: {listed(unseen)} {verb} in the {name} rows but in no "
                f"training row; add training rows of each label, or take these rows out"
            )
