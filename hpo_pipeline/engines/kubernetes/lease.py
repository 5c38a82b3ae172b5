"""Jobs that end by themselves when nobody follows them any more.

The activeDeadlineSeconds of a running job may be changed, so a client that follows a job keeps
moving its deadline on. When the follower is gone, the deadline stays, and Kubernetes ends the job.
Only jobs of a pipeline have such a lease: others continue without a follower.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from hpo_pipeline.engines.kubernetes.api import JOBS, Api, Object
from hpo_pipeline.errors import ClusterError

logger = logging.getLogger(__name__)

LEASE_ANNOTATION = "hpo-pipeline/lease"
"""On a job: the seconds that it may run without a follower."""
LEASE_SECONDS = 240
RENEW_SECONDS = 30.0
FORBIDDEN = 403


def with_lease(job: Object) -> Object:
    """Return a job to create, with a lease."""
    metadata: dict[str, Any] = job["metadata"]
    notes = {**(metadata.get("annotations") or {}), LEASE_ANNOTATION: str(LEASE_SECONDS)}
    spec = {**job["spec"], "activeDeadlineSeconds": LEASE_SECONDS}
    return {**job, "metadata": {**metadata, "annotations": notes}, "spec": spec}


def extended_deadline(job: Object, now: datetime) -> int | None:
    """Return the seconds from the start of a job to the new end of its lease.

    None if it has no lease, or has not started (a queue holds it), so that no deadline counts yet.
    """
    lease = (job["metadata"].get("annotations") or {}).get(LEASE_ANNOTATION)
    begun = (job.get("status") or {}).get("startTime")
    if lease is None or begun is None:
        return None
    passed = (now - datetime.fromisoformat(begun)).total_seconds()
    return max(0, round(passed)) + int(lease)


class Leases:
    """The leases of the jobs that this process follows."""

    def __init__(
        self,
        api: Api,
        namespace: str,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._now = now
        self._renewed: dict[str, datetime] = {}

    def renew(self, jobs: Iterable[Object]) -> None:
        """Renew the leases of running jobs unless that was done just now.

        Raises:
            ClusterError: jobs must not be changed. Other errors may pass; call it again.
        """
        now = self._now()
        for job in jobs:
            name, deadline = job["metadata"]["name"], extended_deadline(job, now)
            last = self._renewed.get(name)
            if deadline is None or (last and (now - last).total_seconds() < RENEW_SECONDS):
                continue
            change = {"spec": {"activeDeadlineSeconds": deadline}}
            try:
                self._api.patch(JOBS, self._namespace, name, change)
            except ClusterError as error:
                if error.status == FORBIDDEN:
                    raise
                logger.debug("%s: the lease could not be renewed: %s", name, error)
                continue
            self._renewed[name] = now
