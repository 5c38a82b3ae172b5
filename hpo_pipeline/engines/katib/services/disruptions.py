"""Trials whose pods are lost again and again get the next one soon.

After an eviction or the loss of a node, Kubernetes makes the pod of a job anew. But it waits 10 s
the first time and twice as long each further time, up to 10 minutes, as if the job had failed by
itself (kubernetes/kubernetes, pkg/controller/job/backoff_utils.go). The pause belongs to the job,
and Katib makes a deleted job anew at once. So a job that waits like this is deleted: its trial has
a pod again within about 20 s, however often it was disrupted.

Only a job is touched that had a pod, has none for longer than that first pause, and has no failure
which counts: those keep Kubernetes' pause and limit. Pods are not counted, because one that is lost
within a second or two may never be seen here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from hpo_pipeline.engines.katib.trial_template import EXPERIMENT_POD_LABEL
from hpo_pipeline.engines.kubernetes.api import JOBS, PODS, Api, Object
from hpo_pipeline.engines.kubernetes.conditions import has_condition
from hpo_pipeline.engines.kubernetes.names import JOB_LABEL
from hpo_pipeline.errors import ClusterError

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 12.0
"""How long a job is without a pod before it is made anew: a little more than the first pause."""
_OVER = ("Complete", "Failed", "FailureTarget", "SuccessCriteriaMet")
ENDED = ("Succeeded", "Failed")
NOT_FOUND, FORBIDDEN = 404, 403


class Disruptions:
    """The trials of one experiment that were disrupted; `check` is called every few seconds."""

    def __init__(
        self,
        api: Api,
        namespace: str,
        experiment: str,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._api, self._namespace, self._experiment = api, namespace, experiment
        self._now = now
        self._had_pods: set[str] = set()
        self._over: set[str] = set()
        self._idle: dict[str, datetime] = {}
        self._is_forbidden = False

    def check(self) -> None:
        """Look at the pods of the trials, and delete the jobs that wait for no reason of theirs.

        Raises:
            ClusterError: the cluster does not answer; call it again.
        """
        if self._is_forbidden:
            return
        try:
            self._look()
        except ClusterError as error:
            if error.status != FORBIDDEN:
                raise
            # A Role of an earlier version: Kubernetes' pauses stay.
            logger.warning("%s; apply manifests/base again", error)
            self._is_forbidden = True

    def _look(self) -> None:
        labels = f"{EXPERIMENT_POD_LABEL}={self._experiment},{JOB_LABEL}"
        pods = self._api.list(PODS, self._namespace, labels=labels)["items"]
        phases = [(_trial_of(pod), (pod.get("status") or {}).get("phase")) for pod in pods]
        alive = {name for name, phase in phases if phase not in ENDED}
        self._had_pods |= {name for name, _ in phases}
        self._over |= {name for name, phase in phases if phase == "Succeeded"}
        now = self._now()
        for name in self._had_pods - alive - self._over:
            since = self._idle.setdefault(name, now)
            if (now - since).total_seconds() >= PAUSE_SECONDS:
                self._renew(name)
        for name in alive:
            self._idle.pop(name, None)

    def _renew(self, trial: str) -> None:
        self._had_pods.remove(trial)
        self._idle.pop(trial)
        try:
            job = self._api.get(JOBS, self._namespace, trial)
            if _is_over(job):
                self._over.add(trial)
            elif waits_after_disruptions(job):
                logger.info("%s has lost its pods to disruptions; its job is made anew", trial)
                self._api.delete(JOBS, self._namespace, trial)
        except ClusterError as error:
            if error.status != NOT_FOUND:
                raise


def _trial_of(pod: Object) -> str:
    found: str = pod["metadata"]["labels"][JOB_LABEL]
    return found


def waits_after_disruptions(job: Object) -> bool:
    """Return whether a job has neither a pod nor a failure that counts, and may have a pod."""
    status: Mapping[str, Any] = job.get("status") or {}
    is_free = not (job.get("spec") or {}).get("suspend") and not job["metadata"].get(
        "deletionTimestamp"
    )
    has_pods = any(status.get(name) for name in ("active", "terminating", "succeeded", "failed"))
    uncounted = status.get("uncountedTerminatedPods") or {}
    is_free = is_free and not has_condition(job, "Suspended")
    return is_free and not has_pods and not _is_over(job) and not any(uncounted.values())


def _is_over(job: Object) -> bool:
    return any(has_condition(job, kind) for kind in _OVER)
