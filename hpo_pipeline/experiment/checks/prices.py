"""Whether the section `prices` has what the metrics and the node selectors ask for."""

from __future__ import annotations

from typing import Any

from hpo_pipeline.experiment.formula import Formula
from hpo_pipeline.experiment.prices import COST, Prices


def places_that_read(sections: dict[str, Any], metric: str) -> list[str]:
    """Return where objectives and constraints read a metric."""
    objectives = sections.get("objective") or ()
    names = ["objective"] if len(objectives) == 1 else [f"objective.{i}" for i in range(99)]
    found = [n for n, each in zip(names, objectives, strict=False) if metric in each.reads]
    constraints = enumerate(sections.get("constraints") or ())
    return found + [f"constraints.{i}" for i, c in constraints if metric in Formula(c).names]


def price_faults(sections: dict[str, Any]) -> list[str]:
    """Return which prices are missing."""
    prices: Prices | None = sections.get("prices")
    serve, cluster = sections.get("serve"), sections.get("cluster")
    readers = places_that_read(sections, COST)
    if prices is None:
        if "prices" not in sections:
            return []  # they have faults of their own
        return [f"{where}: {COST} needs prices, such as {{cpu_hour: 0.04}}" for where in readers]
    instance = serve.instance if serve is not None else None
    if instance is not None and instance not in prices.instances:
        there = ", ".join(prices.instances) or "none"
        return [
            f"prices.instances: has no entry for {instance}, which serve.node_selector names; "
            f"there are {there}"
        ]
    gpus = cluster.gpus if cluster is not None else 0
    if not readers or instance is not None:
        return []
    if gpus and prices.gpu_hour is None:
        return [f"prices.gpu_hour: is missing, for {COST} where cluster.gpus is {gpus}"]
    if prices.cpu_hour is None and prices.gpu_hour is None:
        return [
            f"prices.cpu_hour: is missing, for {COST} ({readers[0]}); instances are the prices "
            f"of what serve.node_selector names"
        ]
    return []
