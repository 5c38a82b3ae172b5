"""Whether pods fit: into nodes, quotas and limit ranges. Pure functions of plain objects."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hpo_pipeline.engines.kubernetes.api import Object
from hpo_pipeline.engines.kubernetes.findings import Finding

Amounts = dict[str, float]
"""Amounts of resources by name: cores, bytes, numbers of GPUs and pods."""

_QUANTITY = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([numkKMGTPE]?i?)")
_SUFFIXES = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3}
_SUFFIXES |= {letter: 10.0 ** (3 * i) for i, letter in enumerate("MGTPE", start=2)}
_SUFFIXES |= {f"{letter}i": 2.0 ** (10 * i) for i, letter in enumerate("KMGTPE", start=1)}
_BYTES = ("memory", "ephemeral-storage")
_ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True)
class Need:
    """What pods of one kind ask for.

    Attributes:
        who: the kind of pod, as in "a trial".
        requests, limits: of one pod.
        containers: the limits of each container.
        is_set: whether the experiment file decides what they ask for.
    """

    who: str
    requests: Amounts
    limits: Amounts
    containers: tuple[Amounts, ...]
    is_set: bool = True


def quantity(text: object) -> float:
    """Return a quantity of Kubernetes as a number: `500m` is 0.5, `1Ki` is 1024.

    Raises:
        ValueError: it is none.
    """
    found = _QUANTITY.fullmatch(str(text).strip())
    if found is None or found[2] not in _SUFFIXES:
        raise ValueError(f"not a quantity of Kubernetes: {text!r}")
    return float(found[1]) * _SUFFIXES[found[2]]


def amounts(listed: Mapping[str, Any] | None) -> Amounts:
    """Return quantities as numbers."""
    return {name: quantity(text) for name, text in (listed or {}).items()}


def need_of(who: str, pod: Object, *, is_set: bool = True) -> Need:
    """Return what a pod with this specification asks for; `is_set` as in `Need`."""
    parts = [container.get("resources") or {} for container in pod["containers"]]
    limits = tuple(amounts(part.get("limits")) for part in parts)
    requests = [{**amounts(p.get("limits")), **amounts(p.get("requests"))} for p in parts]
    return Need(who, _sum(requests), _sum(limits), limits, is_set)


def shown(name: str, amount: float) -> str:
    """Return an amount as people write it: `500m`, `1.9`, `3.6Gi`."""
    if name.rpartition(".")[2] in _BYTES:
        for suffix, size in (("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
            if abs(amount) >= size:
                return f"{amount / size:.4g}{suffix}"
        return f"{amount:.0f}"
    return f"{amount * 1000:.0f}m" if 0 < abs(amount) < 1 else f"{amount:.4g}"


def node_findings(
    need: Need, parallel: int, nodes: Iterable[Object], pods: Iterable[Object] | None
) -> Iterator[Finding]:
    """Compare a pod with the nodes on which it may run, of which there is at least one.

    Args:
        pods: all pods of the cluster; None where they may not be listed. What jobs use is free
            again when they end; what other pods use is not.
    """
    staying: dict[str, Amounts] = {}
    passing: dict[str, Amounts] = {}
    for pod in pods or ():
        owners = {owner["kind"] for owner in pod["metadata"].get("ownerReferences") or ()}
        used = passing if "Job" in owners else staying
        node = pod["spec"].get("nodeName")
        if node and (pod.get("status") or {}).get("phase") not in _ENDED:
            used[node] = _sum([used.get(node, {}), need_of("", pod["spec"]).requests])
    free, now = [], []
    for node in nodes:
        name, has = node["metadata"].get("name", ""), amounts(node["status"].get("allocatable"))
        free.append(_minus(has, staying.get(name, {})))
        now.append(_minus(free[-1], passing.get(name, {})))
    slots = sum(_slots(need.requests, left) for left in free)
    if slots == 0:
        yield Finding(_no_node(need, free), False, "ask for less (cluster.cpu, cluster.memory)")
    elif sum(_slots(need.requests, left) for left in now) == 0:
        yield Finding(f"no node has room for {need.who} just now: other jobs run there")
    elif slots < parallel:
        yield Finding(f"the nodes have room for {slots} of {parallel} trials at a time")
    else:
        yield Finding(f"the nodes have room for {parallel} trials at a time")


def quota_findings(
    need: Need, beside: Need, parallel: int, quotas: Iterable[Object]
) -> Iterator[Finding]:
    """Compare trials, and the pod of the services beside them, with the quotas of a namespace."""
    for quota in quotas:
        spec, status = quota.get("spec") or {}, quota.get("status") or {}
        if spec.get("scopes") or spec.get("scopeSelector"):
            continue  # it may be about other pods than ours
        name = quota["metadata"]["name"]
        used = amounts(status.get("used"))
        for key, hard in amounts(status.get("hard") or spec.get("hard")).items():
            one, other = _counted(key, need), _counted(key, beside)
            if not one:
                continue
            allowed = f"quota {name} allows {key} {shown(key, hard)}"
            if hard < one + other:
                wanted = f"a trial wants {shown(key, one)}"
                wanted += f", and its services {shown(key, other)}" if other else ""
                remedy = "ask for a larger quota, or lower cluster.cpu or cluster.memory"
                yield Finding(f"{allowed}; {wanted}", False, remedy)
                continue
            slots = math.floor((hard - other) / one + 1e-9)
            if hard - used.get(key, 0.0) < one + other:
                left = shown(key, hard - used.get(key, 0.0))
                yield Finding(f"{allowed}, of which {left} are left just now")
            elif slots < parallel:
                yield Finding(f"{allowed}: {slots} of {parallel} trials can run at a time")


def range_findings(needs: Iterable[Need], ranges: Iterable[Object]) -> Iterator[Finding]:
    """Compare pods with the limit ranges of a namespace, which refuse what is outside of them."""
    found: dict[Finding, None] = {}  # two containers may want the same
    listed = list(ranges)
    for need in needs:
        for item in listed:
            name = item["metadata"]["name"]
            for limit in (item.get("spec") or {}).get("limits") or ():
                kinds = {"Container": need.containers, "Pod": (need.limits,)}
                for each in kinds.get(limit.get("type"), ()):
                    found |= dict.fromkeys(_outside(need, name, limit, each))
    yield from found


def _outside(need: Need, name: str, limit: Mapping[str, Any], wanted: Amounts) -> Iterator[Finding]:
    who = need.who
    wider = f"ask for a wider range: what {who} wants is fixed"
    where = f"limit range {name} allows a {limit['type'].lower()}"
    for key, most in amounts(limit.get("max")).items():
        if wanted.get(key, 0.0) > most:
            what = (
                f"{where} at most {key} {shown(key, most)}, {who} wants {shown(key, wanted[key])}"
            )
            less = f"ask for less (cluster.{key}), or for a wider range"
            yield Finding(what, False, less if need.is_set else wider)
    for key, least in amounts(limit.get("min")).items():
        if wanted.get(key, least) < least:
            what = f"{where} at least {key} {shown(key, least)}"
            what += f", {who} wants {shown(key, wanted[key])}"
            more = f"ask for more (cluster.{key}), or for a wider range"
            yield Finding(what, False, more if need.is_set else wider)


def never_fits(message: str) -> bool:
    """Return whether what Kubernetes says of a pod that it did not make will stay so.

    A quota that others use up is free again some day; one that is below what is requested, or
    any other reason, is not.
    """
    if "exceeded quota" not in message:
        return "forbidden" in message or "is invalid" in message
    parts = {
        word: _listed(found[1])
        for word in ("requested", "limited")
        if (found := re.search(rf"{word}: ([^:]*?)(?:, \w+:|$)", message))
    }
    limited = parts.get("limited", {})
    return any(v > limited.get(k, math.inf) for k, v in parts.get("requested", {}).items())


def _listed(text: str) -> Amounts:
    pairs = (pair.partition("=") for pair in text.split(","))
    return {name.strip(): quantity(value) for name, _, value in pairs if value}


def _counted(key: str, need: Need) -> float:
    """Return how much of a quota's entry one pod uses."""
    if key in ("pods", "count/pods"):
        return 1.0
    kind, dot, resource = key.partition(".")
    if dot and kind in ("requests", "limits"):
        return (need.requests if kind == "requests" else need.limits).get(resource, 0.0)
    return need.requests.get(key, 0.0)


def _no_node(need: Need, free: list[Amounts]) -> str:
    wanted = ", ".join(f"{k} {shown(k, v)}" for k, v in need.requests.items())
    least = min(free, key=lambda left: _missing(need.requests, left))
    has = ", ".join(f"{k} {shown(k, max(0.0, least.get(k, 0.0)))}" for k in need.requests)
    nodes = "the node has" if len(free) == 1 else f"the best of {len(free)} nodes has"
    return f"{need.who} wants {wanted}, and {nodes} {has} beside what always runs there"


def _missing(wanted: Amounts, left: Amounts) -> float:
    return sum(max(0.0, v - left.get(k, 0.0)) / v for k, v in wanted.items() if v)


def _slots(wanted: Amounts, left: Amounts) -> int:
    fits = [left.get(name, 0.0) / amount for name, amount in wanted.items() if amount]
    return max(0, math.floor(min([*fits, left.get("pods", math.inf), 1e6]) + 1e-9))


def _sum(parts: Iterable[Amounts]) -> Amounts:
    found: Amounts = {}
    for part in parts:
        for name, amount in part.items():
            found[name] = found.get(name, 0.0) + amount
    return found


def _minus(one: Amounts, other: Amounts) -> Amounts:
    return {name: amount - other.get(name, 0.0) for name, amount in one.items()}
