"""Read the conditions in the status of a Kubernetes object."""

from __future__ import annotations

from typing import Any

from hpo_pipeline.engines.kubernetes.api import Object


def conditions(item: Object) -> list[dict[str, Any]]:
    """Return the conditions of an object; a new one has none."""
    found: list[dict[str, Any]] = (item.get("status") or {}).get("conditions") or []
    return found


def has_condition(item: Object, kind: str) -> bool:
    """Return whether a condition holds."""
    return any(c["type"] == kind and c["status"] == "True" for c in conditions(item))


def condition_message(item: Object, kind: str) -> str:
    """Return what a condition that holds says, or nothing."""
    held = (c for c in conditions(item) if c["type"] == kind and c["status"] == "True")
    return next((c.get("message", "") for c in held), "")
