"""Experiments and trials of Katib as the API server shows them, and an API that counts requests."""

from __future__ import annotations

import itertools
import threading

from hpo_pipeline.engines.katib.names import EXPERIMENT_LABEL
from hpo_pipeline.engines.kubernetes.names import JOB_LABEL
from hpo_pipeline.errors import ClusterError

START = "2026-01-01T00:00:00Z"


def at(seconds: int) -> str:
    """Return a time so many seconds after the start."""
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"2026-01-01T{hour:02d}:{minute:02d}:{second:02d}Z"


def experiment(name="toy", *, ended=None, goal="maximize", namespace="hpo"):
    """Return an experiment; `ended` is Succeeded or Failed."""
    kind = {"type": ended, "status": "True", "message": "it has ended"}
    return {
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": START},
        "spec": {
            "maxTrialCount": 10,
            "objective": {"type": goal, "objectiveMetricName": "f1"},
        },
        "status": {"conditions": [kind], "completionTime": at(7200)} if ended else {},
    }


def trial(name, *, of="toy", state="Succeeded", seconds=100, namespace="hpo", gpus=1, **metrics):
    """Return a trial that started 10 seconds after its experiment."""
    condition = {
        "type": state,
        "status": "True",
        "lastTransitionTime": at(10 + seconds),
        "message": "Trial has failed",
    }
    values = [{"name": n, "latest": str(v)} for n, v in metrics.items()]
    limits = {"cpu": "500m", "nvidia.com/gpu": gpus}
    containers = [{"name": "trial", "resources": {"limits": limits}}]
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "creationTimestamp": at(5),
            "labels": {EXPERIMENT_LABEL: of},
        },
        "spec": {"runSpec": {"spec": {"template": {"spec": {"containers": containers}}}}},
        "status": {
            "startTime": at(10),
            "conditions": [condition],
            "observation": {"metrics": values},
        },
    }


def pod(of, *, waited=None, killed=None, namespace="hpo"):
    """Return the pod of a trial, with a node after so many seconds; `killed` says by what."""
    conditions = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": at(waited or 0)}]
    ended = {"name": "trial", "state": {"terminated": {"reason": killed, "exitCode": 137}}}
    return {
        "metadata": {
            "name": f"{of}-x",
            "namespace": namespace,
            "creationTimestamp": START,
            "labels": {JOB_LABEL: of},
        },
        "spec": {"containers": [{"name": "trial", "resources": {"limits": {"memory": "1Gi"}}}]},
        "status": {
            "phase": "Failed" if killed else "Running",
            "conditions": conditions if waited is not None else [],
            "containerStatuses": [ended] if killed else [],
        },
    }


class ListedApi:
    """An API with objects to list in pages, whose watches wait; it counts requests.

    Attributes:
        refused: kinds that may not be listed.
        news: events that the next watch of a kind yields.
    """

    def __init__(self, *, experiments=(), trials=(), pods=(), refused=()):
        self.items = {"experiments": experiments, "trials": trials, "pods": pods}
        self.refused = refused
        self.news = {}
        self.requests = 0
        self._ended = threading.Event()

    def close(self):
        self._ended.set()

    def list(self, kind, namespace, *, labels="", fields="", limit=0, after=""):
        self.requests += 1
        if kind.plural in self.refused:
            raise ClusterError(f"{kind.plural} is forbidden (GET, 403)", status=403)
        begun = int(after or 0)
        found = list(itertools.islice(self.items[kind.plural], begun, begun + limit))
        more = str(begun + limit) if len(found) == limit else ""
        return {"items": found, "metadata": {"resourceVersion": "1", "continue": more}}

    def watch(self, kind, namespace, *, labels="", since):
        self.requests += 1
        for event, item in self.news.pop(kind.plural, ()):
            item["metadata"]["resourceVersion"] = "2"
            yield event, item
        self._ended.wait()
