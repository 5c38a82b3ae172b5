"""Recurring runs as they stand in KFP, and the mark by which ours are known.

The mark is in the description: a hash of what the schedule was made of, and whether it is meant to
be active. KFP cannot change a recurring run, so what stands there is what it was made of.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from hpo_pipeline.kubeflow.api import Kfp

Json = dict[str, Any]
_MARK = re.compile(r"\(hpo-schedule ([0-9a-f]{16}) (active|paused)\)")


@dataclass(frozen=True)
class ScheduleState:
    """A recurring run as it stands in KFP."""

    id: str
    name: str
    created_at: str
    is_on: bool
    digest: str  # empty where it is not one of ours
    is_paused: bool  # by `pause`: it stays so when it is applied again
    body: Json

    @property
    def meaning(self) -> str:
        """Return when it runs, in its user's words where they are known."""
        if self.digest:
            return _MARK.sub("", str(self.body.get("description"))).strip()
        return str((self.body.get("trigger") or {}).get("cron_schedule", {}).get("cron", "?"))


def marked(description: str, digest: str, is_paused: bool) -> str:
    """Return a description with the mark."""
    return f"{description} (hpo-schedule {digest} {'paused' if is_paused else 'active'})"


def named(kfp: Kfp, name: str) -> list[ScheduleState]:
    """Return all recurring runs of a name."""
    wanted = {"key": "display_name", "operation": "EQUALS", "string_value": name}
    return _listed(kfp, filter=json.dumps({"predicates": [wanted]}))


def ours(kfp: Kfp) -> list[ScheduleState]:
    """Return all recurring runs that this module made."""
    return [run for run in _listed(kfp) if run.digest]


def _listed(kfp: Kfp, **query: str) -> list[ScheduleState]:
    entries = kfp.pages("/recurringruns", "recurringRuns", namespace=kfp.namespace, **query)
    return [_standing(entry) for entry in entries]


def _standing(body: Json) -> ScheduleState:
    mark = _MARK.search(str(body.get("description", "")))
    return ScheduleState(
        id=str(body["recurring_run_id"]),
        name=str(body.get("display_name", "")),
        created_at=str(body.get("created_at", "")),
        is_on=body.get("mode") == "ENABLE",
        digest=mark[1] if mark else "",
        is_paused=bool(mark and mark[2] == "paused"),
        body=body,
    )


def missing(kfp: Kfp, name: str) -> str:
    """Say that there is no schedule of a name, and which there are."""
    known = ", ".join(sorted({run.name for run in ours(kfp)})) or "none"
    return f"no schedule {name} on {kfp.endpoint}; known are: {known}"
