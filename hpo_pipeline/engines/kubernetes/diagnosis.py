"""Why a trial failed or does not start, from its pod, the pod's events and its log; pure.

Katib itself keeps only that the job failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from hpo_pipeline.engines.kubernetes.api import Object
from hpo_pipeline.engines.kubernetes.names import TRIAL_CONTAINER

LAST_LINES = 3
WAIT_SECONDS = 20.0
_WAITING_FAULTS = {
    "ErrImagePull": "the image cannot be pulled",
    "ImagePullBackOff": "the image cannot be pulled",
    "InvalidImageName": "the name of the image is wrong",
    "ErrImageNeverPull": "the image is not on the node",
    "CreateContainerConfigError": "the container cannot be made",
    "CreateContainerError": "the container cannot be made",
    "RunContainerError": "the container cannot be started",
}
_OWN = "the trial failed: "
_FOREIGN_KEY = ": unknown key"
"""What a trial says of an experiment that was checked by another version than its own."""


def pending_cause(pod: Object) -> str | None:
    """Return why a pod does not start, or None where it does or nothing is known."""
    status = pod.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"it cannot be scheduled: {condition.get('message', condition.get('reason'))}"
    for container in status.get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting") or {}
        fault = _WAITING_FAULTS.get(waiting.get("reason", ""))
        if fault:
            image = container.get("image", "")
            return f"{fault} ({image}): {waiting.get('message', waiting['reason'])}"
    return None


def overdue_cause(pod: Object, now: datetime) -> str | None:
    """Return why a pod does not start, once it is worth saying.

    That is at once where what it waits for does not come by itself; else after a while, for a
    node may just be clearing up after another.
    """
    begun = datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
    is_due = is_waiting_in_vain(pod) or (now - begun).total_seconds() > WAIT_SECONDS
    return pending_cause(pod) if is_due else None


def failure_cause(pod: Object | None, said: str, log: Sequence[str] = ()) -> str:
    """Return why a trial failed.

    Args:
        pod: the last pod of the trial; None where it is gone.
        said: what Katib says, which is what remains where nothing else is known.
        log: the last lines of its log.
    """
    if pod is None:
        return said
    status = pod.get("status") or {}
    if status.get("reason") == "Evicted":
        return f"it was evicted from its node: {status.get('message', '')}".rstrip(": ")
    if status.get("reason") in ("Preempting", "Preempted"):
        return "it was preempted by a pod of a higher priority"
    end = terminated(status)
    if end is None:
        return pending_cause(pod) or said
    if end.get("reason") == "OOMKilled":
        return f"it was killed for lack of memory; the limit is {_memory_limit(pod)}"
    message = str(end.get("message") or "")
    lines = [line for line in (message.splitlines() or log) if line.strip()]
    own = [line.partition(_OWN)[2] for line in lines if _OWN in line]
    if own:
        return own[-1]
    code = end.get("exitCode")
    if code == 137:
        return "it was killed (SIGKILL), not by its memory limit; its pod or node may have gone"
    if code == 143:
        return "it was ended (SIGTERM) before it had a result; its pod may have been deleted"
    foreign = [line.strip(" -") for line in lines if _FOREIGN_KEY in line]
    if code == 2 and foreign:
        key = foreign[-1].partition(_FOREIGN_KEY)[0]
        return (
            f"its image ({own_container(status).get('image', '?')}) has another version of hpo, "
            f"which does not know {key}: build the image from the version that you run"
        )
    tail = " | ".join(line.strip() for line in lines[-LAST_LINES:])
    return f"it ended with exit code {code}" + (f": {tail}" if tail else "")


def is_waiting_in_vain(pod: Object) -> bool:
    """Return whether a pod waits for what will not come by itself, such as a missing image."""
    status = pod.get("status") or {}
    waits = [
        ((c.get("state") or {}).get("waiting") or {}).get("reason")
        for c in status.get("containerStatuses") or ()
    ]
    return any(reason in _WAITING_FAULTS for reason in waits)


def waiting_since(pod: Object) -> datetime | None:
    """Return since when a pod waits for what does not come; None where it does not."""
    if not is_waiting_in_vain(pod):
        return None
    return datetime.fromisoformat(pod["metadata"]["creationTimestamp"])


def created(item: Object) -> datetime:
    """Return when an object was created."""
    return datetime.fromisoformat(item["metadata"]["creationTimestamp"])


def own_container(status: Object) -> dict[str, Any]:
    """Return what a pod's status says of the container with our work; empty where nothing."""
    listed: list[dict[str, Any]] = status.get("containerStatuses") or []
    return next((c for c in listed if c["name"] == TRIAL_CONTAINER), {})


def terminated(status: Object) -> dict[str, Any] | None:
    """Return how that container ended, or None where it has not."""
    found: dict[str, Any] | None = (own_container(status).get("state") or {}).get("terminated")
    return found


def _memory_limit(pod: Object) -> str:
    for container in pod["spec"]["containers"]:
        if container["name"] == TRIAL_CONTAINER:
            limits = (container.get("resources") or {}).get("limits") or {}
            return str(limits.get("memory", "the node's memory"))
    return "unknown"
