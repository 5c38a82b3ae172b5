"""Drawing configurations that keep the rules, as random search would, at a bounded cost.

Each group of tied parameters is drawn apart, again until it keeps its rules: that is uniform over
all that do. Where hardly any does, the group's combinations are listed and one is taken with its
probability; where they cannot be listed, points are moved until they keep the rules, which is no
longer uniform. Every step has a bound, and a generator decides everything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from hpo_pipeline.experiment.rules.region import Region
from hpo_pipeline.experiment.space import Value

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Places = dict[str, Floats]
QUICK_DRAWS = 2**15
"""Draws before combinations are listed."""
MAX_DRAWS = 2**18
"""Draws before points are moved."""
DRAWS = 100_000
"""Draws for an estimate."""
_FIRST, _LARGEST = 64, 2**15
_MOVED, _MOVES = 256, 400


def draw(
    region: Region, rng: Generator, given: Mapping[str, Value] | None = None
) -> dict[str, Value] | None:
    """Return a configuration that keeps the rules, or None where none was found.

    Args:
        given: values of some parameters, which it has.
    """
    rows = several(region, rng, 1, given)
    if rows is None:
        return None
    return {**region.assignments(rows, 0), **(given or {})}


def several(
    region: Region, rng: Generator, count: int, given: Mapping[str, Value] | None = None
) -> Places | None:
    """Return up to `count` configurations that keep the rules, or None where none was found.

    There may be fewer where few keep them.
    """
    given = given or {}
    found: Places = {}
    for group in region.groups:
        rows = _group_rows(region, group, rng, count, given)
        if rows is None:
            return None
        size = len(rows[group[0]])
        if size < count:
            # Few distinct ones: each is used again with others of the other groups.
            again = rng.integers(size, size=count)
            rows = {name: column[again] for name, column in rows.items()}
        found |= rows
    for group in region.free:
        found |= _drawn(region, group, rng, count, given)
    return {name: found[name] for name in region.space}


def kept_share(region: Region) -> float:
    """Return the share of what random search would draw that keeps the rules, estimated."""
    import numpy as np

    rng, share = np.random.default_rng(0), 1.0
    for group in region.groups:
        share *= float(region.mask(_drawn(region, group, rng, DRAWS, {})).mean())
    return share


def _group_rows(
    region: Region,
    group: tuple[str, ...],
    rng: Generator,
    count: int,
    given: Mapping[str, Value],
) -> Places | None:
    is_known_rare = ("rare", group) in region.memory
    rows = None if is_known_rare else _accepted(region, group, rng, count, given, QUICK_DRAWS)
    if rows is not None:
        return rows
    if not given:
        region.memory["rare", group] = True
    listed = region.listed(group)
    if listed is not None:
        return _chosen(region, listed, rng, count, given)
    rows = None if is_known_rare else _accepted(region, group, rng, count, given, MAX_DRAWS)
    return rows or _moved(region, group, rng, count, given)


def _drawn(
    region: Region, group: tuple[str, ...], rng: Generator, count: int, given: Mapping[str, Value]
) -> Places:
    return _places(region, group, given, count, lambda i: rng.random(count))


def _accepted(
    region: Region,
    group: tuple[str, ...],
    rng: Generator,
    count: int,
    given: Mapping[str, Value],
    limit: int,
) -> Places | None:
    """Draw until enough rows keep the rules, or the limit is reached."""
    import numpy as np

    found: list[Places] = []
    drawn, kept, batch = 0, 0, max(_FIRST, min(2 * count, _LARGEST))
    while kept < count and drawn < limit:
        rows = _drawn(region, group, rng, batch, given)
        mask = region.mask(rows)
        if mask.any():
            found.append({name: column[mask] for name, column in rows.items()})
        drawn, kept = drawn + batch, kept + int(mask.sum())
        batch = min(4 * batch, _LARGEST)
    if not found:
        return None
    return {name: np.concatenate([rows[name] for rows in found])[:count] for name in group}


def _chosen(
    region: Region, listed: Places, rng: Generator, count: int, given: Mapping[str, Value]
) -> Places | None:
    """Choose among listed combinations as often as random search would meet them."""
    import numpy as np

    active = region.active(listed)
    first = next(iter(listed.values()))
    weights = np.ones(len(first))
    for name, column in listed.items():
        axis = region.axes[name]
        weights *= np.where(active[name], axis.weights(column), 1.0)
        if name in given:
            weights *= ~active[name] | (column == axis.place(given[name]))
    if not weights.sum() > 0:
        return None
    rows = rng.choice(len(first), size=count, p=weights / weights.sum())
    return {name: column[rows] for name, column in listed.items()}


def _moved(
    region: Region,
    group: tuple[str, ...],
    rng: Generator,
    count: int,
    given: Mapping[str, Value],
) -> Places | None:
    """Move random points, each change kept that brings a point no further from the rules."""
    import numpy as np

    shares = rng.random((_MOVED, len(group)))
    scales: list[float] | None = None
    for _ in range(_MOVES):
        gaps = region.gaps(_placed(region, group, shares, given))
        if scales is None:
            scales = [_scale(gap) for gap in gaps]
        total = _total(gaps, scales)
        moved = perturbed(rng, shares)
        better = _total(region.gaps(_placed(region, group, moved, given)), scales) <= total
        shares[better] = moved[better]
    rows = _placed(region, group, shares, given)
    mask = region.mask(rows)
    if not mask.any():
        return None
    chosen = np.flatnonzero(mask)[rng.integers(mask.sum(), size=count)]
    return {name: column[chosen] for name, column in rows.items()}


def _scale(gaps: Floats) -> float:
    import numpy as np

    known = gaps[np.isfinite(gaps) & (gaps > 0)]
    return float(np.median(known)) if len(known) else 1.0


def _total(gaps: list[Floats], scales: list[float]) -> Floats:
    total = gaps[0] / scales[0]
    for gap, scale in zip(gaps[1:], scales[1:], strict=True):
        total = total + gap / scale
    return total


def _placed(
    region: Region, group: tuple[str, ...], shares: Floats, given: Mapping[str, Value]
) -> Places:
    return _places(region, group, given, len(shares), lambda i: shares[:, i])


def _places(
    region: Region,
    group: tuple[str, ...],
    given: Mapping[str, Value],
    count: int,
    shares: Callable[[int], Floats],
) -> Places:
    """Return the places of a group: of what is given, else of the shares by parameter."""
    import numpy as np

    return {
        name: np.full(count, float(region.axes[name].place(given[name])))
        if name in given
        else region.axes[name].places(shares(i))
        for i, name in enumerate(group)
    }


def perturbed(rng: Generator, shares: Floats) -> Floats:
    """Return points near others: some coordinates moved, by little or much, or drawn anew."""
    import numpy as np

    size = shares.shape
    which = rng.random(size) < max(1 / size[1], 0.3)
    step = 10 ** rng.uniform(-6, 0, (size[0], 1)) * rng.standard_normal(size)
    moved = np.clip(shares + step, 0, 1 - 2**-53)
    moved = np.where(rng.random(size) < 0.1, rng.random(size), moved)
    return np.where(which, moved, shares)
