"""The state of schedules in KFP, read from its recurring runs.

Ours carry a mark in their description: a hash of the definition, and whether the schedule should be
active or paused. KFP cannot change a recurring run, so the hash stays true.
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
    """A recurring run of KFP as it is now."""

    id: str
    name: str
    created_at: str
    is_on: bool
    digest: str  # empty where it is not one of ours
    is_paused: bool  # by `hpo schedule pause`: stays paused when it is set again
    body: Json

    @property
    def meaning(self) -> str:
        """Return when it runs, as its user wrote it where that is known."""
        if self.digest:
            return _MARK.sub("", str(self.body.get("description"))).strip()
        return str((self.body.get("trigger") or {}).get("cron_schedule", {}).get("cron", "?"))


def marked(description: str, digest: str, is_paused: bool) -> str:
    """Return a description with the mark."""
    return f"{description} (hpo-schedule {digest} {'paused' if is_paused else 'active'})"


def named(kfp: Kfp, name: str) -> list[ScheduleState]:
    """Return all recurring runs of this name."""
    wanted = {"key": "display_name", "operation": "EQUALS", "string_value": name}
    return _listed(kfp, filter=json.dumps({"predicates": [wanted]}))


def ours(kfp: Kfp) -> list[ScheduleState]:
    """Return all recurring runs that carry our mark."""
    return [run for run in _listed(kfp) if run.digest]


def _listed(kfp: Kfp, **query: str) -> list[ScheduleState]:
    entries = kfp.pages("/recurringruns", "recurringRuns", namespace=kfp.namespace, **query)
    return [_state(entry) for entry in entries]


def _state(body: Json) -> ScheduleState:
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
    """Return the sentence that there is no such schedule, with the names there are."""
    known = ", ".join(sorted({run.name for run in ours(kfp)})) or "none"
    return f"no schedule {name} on {kfp.endpoint}; there are: {known}"
