"""Ray Tune's spaces (and FLAML's, which are alike), read by the attributes of their domains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo_pipeline.spaces.drawing_functions import drawn
from hpo_pipeline.spaces.imported import Collector, Imported, flat

_GRID = "grid_search"


def from_ray_tune(space: Mapping[str, Any], *, names: Mapping[str, str] | None = None) -> Imported:
    """Return the `param_space` of a Tuner as a space of ours.

    Nothing is drawn from it. Of a `sample_from`, the source of its function is read, and known
    where it is one call of a random generator, such as `2 ** np.random.randint(2, 6)`.

    Args:
        names: of parameters, where they are others here: `{"lr": "learning_rate"}`.
    """
    collector = Collector("the space of Ray Tune", names)
    for name, domain in flat(space, lambda value: _GRID in value).items():
        _add(collector, name, domain)
    return collector.imported()


def _add(collector: Collector, name: str, domain: Any) -> None:
    if isinstance(domain, Mapping):
        collector.choice(name, domain[_GRID])
        collector.note(f"{name}: was searched on a grid; set search: {{algorithm: grid}} for that")
    elif hasattr(domain, "categories"):
        collector.choice(name, domain.categories)
    elif hasattr(domain, "func"):
        _of_function(collector, name, domain.func)
    elif hasattr(domain, "lower") and hasattr(domain, "upper"):
        _of_range(collector, name, domain)
    else:
        collector.choice(name, [domain])


def _of_range(collector: Collector, name: str, domain: Any) -> None:
    sampler, step = domain.sampler, None
    if hasattr(sampler, "q"):
        sampler, step = sampler.sampler, sampler.q
    if hasattr(sampler, "mean"):
        collector.normal(name, sampler.mean, sampler.sd)
        return
    is_log = hasattr(sampler, "base") or "Log" in type(sampler).__name__
    if type(domain).__name__ == "Integer":
        # The upper end is left out, unless steps are taken: then Ray rounds to it.
        last = domain.upper if step not in (None, 1) else domain.upper - 1
        collector.integer(name, domain.lower, last, step=step or 1, log=is_log)
    else:
        collector.real(name, domain.lower, domain.upper, step=step, log=is_log)


def _of_function(collector: Collector, name: str, function: Any) -> None:
    found = drawn(function)
    if found is None:
        collector.lose(
            name,
            "sample_from is a function, which is not run here, and its source is no call of a "
            "random generator that is known",
            "write what it draws: {type: choice, values: [4, 8, 16]} for powers of two, or a range",
        )
        return
    collector.note(f"{name}: read in the source of its function, which was not run: {found.text}")
    if found.values:
        collector.choice(name, found.values)
    elif found.is_whole:
        collector.integer(name, found.low, found.high)
    else:
        collector.real(name, found.low, found.high, log=found.is_log)
