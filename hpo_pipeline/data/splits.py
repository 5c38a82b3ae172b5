"""Splitting rows: deterministic, stratified, without duplicates, and never overlapping.

The second part of the prepare stage; it knows tables of input and label only. Rows are ordered
by a hash of their input, and the splits are cut from that order, test rows first. So the order of
the file does not matter, and a row that a model was trained on does not become a test row when
rows are added later, as long as the number of test rows stays the same and the test rows of no
label grow by more than its validation rows, which lie between.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import pandas as pd

from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.task import Rows

ORDER = ("test", "validation", "train")
DEFAULT_SHARE = 0.15


def split(tables: Mapping[str, pd.DataFrame], rows: Rows) -> dict[str, pd.DataFrame]:
    """Return the train, validation and test rows, each in a fixed order.

    Args:
        tables: with a table `train`, and `validation` and `test` where the data come split.
        rows: how many rows each split gets.

    Raises:
        DataError: too few rows, an empty split, one class only, or a label unseen in training.
    """
    pools = _without_duplicates({s: _ordered(tables[s], rows.seed) for s in ORDER if s in tables})
    total = sum(len(pool) for pool in pools.values())
    wanted = _counts(rows, total, len(pools.get("train", ())), pools)
    found: dict[str, pd.DataFrame] = {}
    for name in ORDER:
        source = name if name in pools else "train"
        pool, count = pools[source], wanted[name]
        if count > len(pool):
            raise DataError(
                f"task.rows.{name}: {count} rows asked, and {len(pool)} are left of {total} "
                f"different ones; ask for fewer rows"
            )
        if count == 0:
            raise DataError(f"task.rows.{name}: the split is empty")
        taken = _stratified(pool, count)
        found[name] = pool.loc[taken].reset_index(drop=True)
        pools[source] = pool.drop(taken)
    _check_labels(found)
    return {name: found[name] for name in reversed(ORDER)}


def _ordered(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    key = [_hash(value, seed) for value in table["input"]]
    # Of inputs that count as the same, the least is kept, wherever it stands in the file.
    return table.assign(_key=key).sort_values(["_key", "input", "label"])


def _hash(value: str | bytes, seed: int) -> str:
    if isinstance(value, str):
        value = " ".join(value.casefold().split()).encode()
    return hashlib.sha256(f"{seed}:".encode() + value).hexdigest()


def _without_duplicates(pools: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Keep each input once: in the test pool if it is there, then in the validation pool."""
    seen: set[str] = set()
    kept = {}
    for name, pool in pools.items():
        fresh = pool[~pool["_key"].duplicated() & ~pool["_key"].isin(seen)]
        seen.update(fresh["_key"])
        kept[name] = fresh.drop(columns="_key").set_axis(range(len(fresh)))
    return kept


def _counts(
    rows: Rows, total: int, in_train: int, pools: Mapping[str, pd.DataFrame]
) -> dict[str, int]:
    counts = {}
    for name, asked in (("test", rows.test), ("validation", rows.validation)):
        if asked is None and name in pools:
            counts[name] = len(pools[name])
        elif isinstance(asked, int):
            counts[name] = asked
        else:
            counts[name] = round(total * (asked or DEFAULT_SHARE))
    rest = in_train - sum(n for name, n in counts.items() if name not in pools)
    if rows.train is None:
        counts["train"] = max(rest, 0)
    else:
        is_share = isinstance(rows.train, float)
        counts["train"] = round(total * rows.train) if is_share else int(rows.train)
    return counts


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


def _check_labels(found: Mapping[str, pd.DataFrame]) -> None:
    trained = set(found["train"]["label"])
    if len(trained) < 2:
        raise DataError(
            f"task.columns.label: two labels or more are needed, the training rows have only "
            f"{', '.join(map(repr, sorted(trained)))}"
        )
    for name in ("validation", "test"):
        unseen = sorted(set(found[name]["label"]) - trained)
        if unseen:
            raise DataError(
                f"task.columns.label: {', '.join(map(repr, unseen))} occurs in the {name} rows "
                f"but in no training row"
            )
