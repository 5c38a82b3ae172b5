"""Jobs around a search on a cluster: start some, follow all, return what each answered.

Job names are deterministic, so a restarted client finds its job: one that runs is followed, one
that has ended is read, one that failed is tried again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from hpo_pipeline.engines.interruption import Interruption
from hpo_pipeline.engines.kubernetes.api import JOBS, PODS, Api, Kind, Object
from hpo_pipeline.engines.kubernetes.capacity import never_fits
from hpo_pipeline.engines.kubernetes.conditions import condition_message, has_condition
from hpo_pipeline.engines.kubernetes.diagnosis import (
    created,
    failure_cause,
    overdue_cause,
    own_container,
    terminated,
    waiting_since,
)
from hpo_pipeline.engines.kubernetes.events import Events
from hpo_pipeline.engines.kubernetes.lease import Leases, with_lease
from hpo_pipeline.engines.kubernetes.names import JOB_LABEL, TRIAL_CONTAINER
from hpo_pipeline.engines.kubernetes.podless import PodlessJobs
from hpo_pipeline.engines.kubernetes.pods import WORK_LABEL
from hpo_pipeline.engines.kubernetes.watch import Feed
from hpo_pipeline.errors import BackendError, ClusterError
from hpo_pipeline.results.job import ERROR, JobOutput, parse_answer

TICK = 0.5
VAIN_SECONDS = 60.0
GONE_SECONDS = 120.0
LOG_LINES = 200
CONFLICT, NOT_FOUND = 409, 404


class Jobs:
    """The jobs of one experiment in a namespace."""

    def __init__(
        self,
        api: Api,
        namespace: str,
        experiment: str,
        *,
        say: Callable[[str], None],
        with_leases: bool = False,
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._labels = f"{WORK_LABEL}={experiment}"
        self._say = say
        self._said: set[str] = set()
        self._events = Events()
        self._items: dict[str, Object] = {}
        self._pods: dict[str, Object] = {}
        self._with_leases = with_leases
        self._podless = PodlessJobs(api, namespace)
        self._leases = Leases(api, namespace)

    def run(
        self,
        jobs: Sequence[Object],
        *,
        parallel: int,
        interruption: Interruption,
        ended: Callable[[JobOutput], None] = lambda job: None,
    ) -> list[JobOutput]:
        """Run jobs, so many at a time, and return how they ended, in their order.

        Args:
            ended: is called with each output.

        Raises:
            BackendError: the cluster refuses them, or their pods will never start.
            Interrupted: by Ctrl-C or SIGTERM; running jobs continue.
        """
        feeds = [self._feed(JOBS, self._on_job), self._feed(PODS, self._on_pod)]
        waiting, found = list(jobs), dict[str, JobOutput]()
        started: list[str] = []
        for feed in feeds:
            feed.start()
        try:
            while len(found) < len(jobs):
                while waiting and len(started) - len(found) < parallel:
                    job = waiting.pop(0)
                    self._start(job)
                    started.append(job["metadata"]["name"])
                interruption.check()
                self._events.take(TICK)
                self._leases.renew(self._items[name] for name in started if name not in found)
                for name in started:
                    end = self._end(name) if name not in found else None
                    if end is not None:
                        found[name] = end
                        ended(end)
                self._look_at_pods([name for name in started if name not in found])
        finally:
            for feed in feeds:
                feed.stop()
        return [found[job["metadata"]["name"]] for job in jobs]

    def stop(self) -> int:
        """Delete the jobs that run; return how many."""
        items = self._api.list(JOBS, self._namespace, labels=self._labels)["items"]
        running = [item for item in items if not _is_over(item)]
        for item in running:
            with contextlib.suppress(ClusterError):
                self._api.delete(JOBS, self._namespace, item["metadata"]["name"])
        return len(running)

    def _start(self, job: Object) -> None:
        """Create a job, or take the one of this name; one that failed is made anew."""
        name, end = job["metadata"]["name"], time.monotonic() + GONE_SECONDS
        job = with_lease(job) if self._with_leases else job
        while True:
            try:
                self._items[name] = self._api.create(JOBS, self._namespace, job)
                return
            except ClusterError as error:
                if error.status != CONFLICT:
                    raise
            with contextlib.suppress(ClusterError):
                found = self._api.get(JOBS, self._namespace, name)
                is_going = bool(found["metadata"].get("deletionTimestamp"))
                if not is_going and not self._is_void(found):
                    self._items[name] = found
                    return
                if not is_going:
                    self._api.delete(JOBS, self._namespace, name)
            if time.monotonic() > end:
                raise BackendError(f"job {name}: an earlier one is still being deleted")
            time.sleep(TICK)

    def _is_void(self, job: Object) -> bool:
        """Return whether a job has failed, or its answer is gone with its pod."""
        name = job["metadata"]["name"]
        is_complete = has_condition(job, "Complete")
        has_lost = is_complete and _answer(self._last_pod(name, job)) is None
        return has_condition(job, "Failed") or has_lost

    def _feed(self, kind: Kind, take: Callable[[str, Object], None]) -> Feed:
        return self._events.feed(self._api, kind, self._namespace, self._labels, take)

    def _on_job(self, event: str, item: Object) -> None:
        name = item["metadata"]["name"]
        known = self._items.get(name)
        # A feed may still tell of an earlier job of this name.
        if known is None or known["metadata"].get("uid") != item["metadata"].get("uid"):
            return
        if event == "DELETED":
            item = _with_failure(item, "it was deleted")
        self._items[name] = item

    def _on_pod(self, event: str, item: Object) -> None:
        name = (item["metadata"].get("labels") or {}).get(JOB_LABEL, "")
        if name and event != "DELETED":
            self._pods[name] = item

    def _end(self, name: str) -> JobOutput | None:
        item = self._items[name]
        if not _is_over(item):
            return None
        pod = self._last_pod(name, item)
        answer = _answer(pod)
        if answer is not None and (has_condition(item, "Complete") or ERROR in answer):
            return JobOutput(name, answer, image=_image(pod))
        if answer is not None:
            return JobOutput(name, answer, condition_message(item, "Failed"))
        said = condition_message(item, "Failed") or "it left no answer"
        return JobOutput(name, None, failure_cause(pod, said, self._log(pod)))

    def _last_pod(self, name: str, job: Object) -> Object | None:
        """Return the last pod of a job, with the status that it has now."""
        try:
            items = self._api.list(PODS, self._namespace, labels=f"{JOB_LABEL}={name}")["items"]
        except ClusterError:
            return self._pods.get(name)
        own = [item for item in items if _is_of(item, job)]
        by_age = sorted(own, key=lambda item: item["metadata"]["creationTimestamp"])
        return by_age[-1] if by_age else self._pods.get(name)

    def _log(self, pod: Object | None) -> list[str]:
        if pod is None:
            return []
        try:
            name = pod["metadata"]["name"]
            lines = self._api.log(self._namespace, name, container=TRIAL_CONTAINER, tail=LOG_LINES)
            return list(lines)
        except ClusterError:
            return []

    def _look_at_pods(self, names: Iterable[str]) -> None:
        """Say once why a pod does not start, and give up where it never will."""
        now = datetime.now(UTC)
        listed = list(names)
        podless = {n: created(self._items[n]) for n in listed if n not in self._pods}
        refused = self._podless.causes(podless, now)
        for name in listed:
            pod = self._pods.get(name)
            cause = overdue_cause(pod, now) if pod is not None else refused.get(name)
            if cause is None:
                continue
            if name not in self._said:
                self._said.add(name)
                self._say(f"{name} does not start: {cause}")
            if pod is not None:
                since = waiting_since(pod)
            else:
                since = podless[name] if never_fits(cause) else None
            if since is not None and (now - since).total_seconds() > VAIN_SECONDS:
                with contextlib.suppress(ClusterError):
                    self._api.delete(JOBS, self._namespace, name)
                raise BackendError(f"{name}: {cause}")


def _is_over(job: Object) -> bool:
    return has_condition(job, "Complete") or has_condition(job, "Failed")


def _is_of(pod: Object, job: Object) -> bool:
    uid = job["metadata"].get("uid")
    owners = pod["metadata"].get("ownerReferences") or ()
    return not owners or uid is None or any(owner.get("uid") == uid for owner in owners)


def _with_failure(job: Object, message: str) -> Object:
    condition = {"type": "Failed", "status": "True", "message": message}
    return {**job, "status": {"conditions": [condition]}}


def _answer(pod: Object | None) -> dict[str, Any] | None:
    """Return what the job's container left as its termination message, if it is an answer."""
    return parse_answer((terminated(_status(pod)) or {}).get("message") or "")


def _image(pod: Object | None) -> str:
    return str(own_container(_status(pod)).get("imageID", ""))


def _status(pod: Object | None) -> Object:
    return (pod or {}).get("status") or {}
