"""The configuration nearest to a proposal that breaks a rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from hpo_pipeline.experiment.rules import Rules
from hpo_pipeline.experiment.rules.drawing import draw, several
from hpo_pipeline.experiment.rules.region import Region, region_of
from hpo_pipeline.experiment.space import Space, Value

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Places = dict[str, Floats]
_AROUND, _FAR, _WALKS, _STEPS = 4096, 256, 12, 256


def nearest(
    region: Region,
    wish: Mapping[str, Value],
    rng: Generator,
    given: Mapping[str, Value] | None = None,
) -> dict[str, Value] | None:
    """Return a configuration that keeps the rules, near to one that does not.

    None where none was found.

    Distances are shares of the ranges; another choice is as far as a whole range. Parameters
    that no rule reads keep their values.

    Args:
        wish: a value for every parameter.
        given: those of them that must not change.
    """
    import numpy as np

    given = dict(given or {})
    free = {n: wish[n] for group in region.free for n in group}
    names = [n for group in region.groups for n in group if n not in given]
    kept = {**free, **given}
    aim = np.array([_share(region, n, wish[n]) for n in names])
    scales = 10 ** rng.uniform(-3, 0, (_AROUND, 1))
    around = aim + scales * rng.standard_normal((_AROUND, len(names)))
    shares = np.clip(around, 0, 1 - 2**-53)
    best = _nearest_of(region, names, shares, aim, kept)
    if best is None:
        rows = several(region, rng, _FAR, kept)
        if rows is None:
            return None
        shares = np.stack([region.axes[n].shares(rows[n]) for n in names], axis=1)
        best = _nearest_of(region, names, shares, aim, kept)
        if best is None:  # an equality between continuous values, which shares do not keep exactly
            return {**region.assignments(rows, 0), **kept}
    for _ in range(_WALKS):
        part = rng.random((_STEPS, len(names))) < rng.random((_STEPS, 1))
        shares = best + part * rng.random((_STEPS, 1)) * (aim - best)
        best = _nearest_of(region, names, np.vstack([best, shares]), aim, kept)
        assert best is not None
    found = region.assignments(_placed(region, names, best[np.newaxis], kept), 0)
    return {**found, **kept}


def kept_points(
    space: Space, rules: Rules, names: Sequence[str], points: Iterable[Sequence[Value]]
) -> list[tuple[Value, ...]]:
    """Return values of some parameters that configurations have that keep the rules.

    Args:
        names: the parameters.
        points: their values to begin with; instead of those that break a rule, the nearest come.
    """
    import numpy as np

    region, rng = region_of(space, rules), np.random.default_rng(0)
    found = []
    for point in points:
        given = dict(zip(names, point, strict=True))
        wish = {name: given.get(name, space[name].point(0)) for name in space}
        whole = draw(region, rng, given) or nearest(region, wish, rng)
        if whole is not None:
            found.append(tuple(whole[name] for name in names))
    return list(dict.fromkeys(found))


def _share(region: Region, name: str, value: Value) -> float:
    import numpy as np

    axis = region.axes[name]
    return float(axis.shares(np.array([axis.place(value)], float))[0])


def _placed(region: Region, names: list[str], shares: Floats, kept: Mapping[str, Value]) -> Places:
    import numpy as np

    moving = {name: region.axes[name].places(shares[:, i]) for i, name in enumerate(names)}
    still = {n: np.full(len(shares), float(region.axes[n].place(v))) for n, v in kept.items()}
    return {name: {**moving, **still}[name] for name in region.space}


def _nearest_of(
    region: Region, names: list[str], shares: Floats, aim: Floats, kept: Mapping[str, Value]
) -> Floats | None:
    import numpy as np

    places = _placed(region, names, shares, kept)
    mask = region.mask(places)
    if not mask.any():
        return None
    distances = np.zeros(len(shares))
    for i, name in enumerate(names):
        if region.space[name].type == "choice":
            distances += places[name] != region.axes[name].places(aim[i : i + 1])
        else:
            distances += (shares[:, i] - aim[i]) ** 2
    row: Floats = shares[np.argmin(np.where(mask, distances, np.inf))]
    return row
