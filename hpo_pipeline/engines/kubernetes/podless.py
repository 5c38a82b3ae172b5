"""Jobs without a pod: what the cluster says of them.

Kubernetes refuses a pod that a quota or a limit range forbids, and the job tries again for ever.
The reason is in its events only.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime

from hpo_pipeline.engines.kubernetes.api import EVENTS, Api, Object
from hpo_pipeline.errors import ClusterError

WAIT_SECONDS = 20.0
"""Seconds after which a job should have its pod."""
ASK_SECONDS = 10.0
PREFIX = "Error creating: "


class PodlessJobs:
    """Asks now and then why jobs have no pod."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api, self._namespace = api, namespace
        self._asked = -ASK_SECONDS
        self._causes: dict[str, str] = {}

    def causes(self, created: Mapping[str, datetime], now: datetime) -> dict[str, str]:
        """Return why jobs have no pod, by their names; those that may yet get one are left out.

        Args:
            created: when each job that has no pod was created.
        """
        overdue = {n for n, at in created.items() if (now - at).total_seconds() > WAIT_SECONDS}
        if overdue and time.monotonic() - self._asked >= ASK_SECONDS:
            self._asked = time.monotonic()
            try:
                fields = "involvedObject.kind=Job,reason=FailedCreate"
                items = self._api.list(EVENTS, self._namespace, fields=fields)["items"]
            except ClusterError:
                items = []  # we may not look
            self._causes |= last_refusals(items)
        return {name: self._causes[name] for name in sorted(overdue) if name in self._causes}


def last_refusals(events: list[Object]) -> dict[str, str]:
    """Return the last FailedCreate of each job, by the job's name."""
    refused = [
        event
        for event in events
        if event.get("reason") == "FailedCreate" and event["involvedObject"].get("kind") == "Job"
    ]
    refused.sort(key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")
    return {
        event["involvedObject"]["name"]: str(event.get("message", "")).removeprefix(PREFIX)
        for event in refused
    }
