"""The experiments of a cluster, kept up to date by watches: a scrape is answered from memory.

Of each object only what metrics need is kept, for there may be tens of thousands.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hpo_pipeline.engines.kubernetes.api import EXPERIMENTS, PODS, TRIALS, Api, Object
from hpo_pipeline.engines.kubernetes.names import JOB_LABEL
from hpo_pipeline.engines.kubernetes.watch import Feed
from hpo_pipeline.errors import ClusterError
from hpo_pipeline.monitoring.collector import Reading
from hpo_pipeline.monitoring.katib_facts import (
    KatibExperiment,
    KatibTrial,
    PodFacts,
    experiment_facts,
    katib_experiment,
    katib_trial,
    pod_facts,
    with_pod,
)
from hpo_pipeline.monitoring.snapshot import Snapshot, measure

logger = logging.getLogger(__name__)

PAGE = 500
"""How many objects are listed at a time: 20 000 at once would take hundreds of megabytes."""
OUR_TRIALS = "app.kubernetes.io/component=trial"
"""The label of the pods of our trials."""

Key = tuple[str, str]
"""Namespace and name."""


class PagedFeed(Feed):
    """A feed that lists page by page and remembers names only; `listed` is set after a list."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.listed = threading.Event()
        self.last_heard = 0.0
        self._names: set[Key] = set()

    def _list(self) -> None:
        seen: set[Key] = set()
        after = ""
        while True:
            found = self._api.list(
                self._kind, self._namespace, labels=self._labels, limit=PAGE, after=after
            )
            for item in found["items"]:
                seen.add(key_of(item))
                self._tell("MODIFIED", item)
            after = found["metadata"].get("continue") or ""
            if not after:
                break
        for namespace, name in self._names - seen:
            self._tell("DELETED", {"metadata": {"namespace": namespace, "name": name}})
        self._version = found["metadata"]["resourceVersion"]
        self.listed.set()

    def _tell(self, event: str, item: Object) -> None:
        self.last_heard = time.time()
        (self._names.discard if event == "DELETED" else self._names.add)(key_of(item))
        self._take(event, item)


class KatibCache:
    """Follows experiments, trials and pods of a namespace, or of all; a source of metrics.

    Attributes:
        fault: why the cluster may not be read, once that is known.
    """

    def __init__(self, api: Api, namespace: str, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._experiments: dict[Key, KatibExperiment] = {}
        self._trials: dict[Key, dict[str, KatibTrial]] = {}
        self._owners: dict[Key, str] = {}
        self._pods: dict[Key, PodFacts] = {}
        self._measured: dict[Key, Snapshot] = {}
        self.fault: ClusterError | None = None

        def feed(kind: Any, take: Any, failed: Any, labels: str = "") -> PagedFeed:
            return PagedFeed(api, kind, namespace, labels=labels, take=take, failed=failed)

        self._feeds = {
            "experiments": feed(EXPERIMENTS, self._take_experiment, self._fail),
            "trials": feed(TRIALS, self._take_trial, self._fail),
            "pods": feed(PODS, self._take_pod, self._miss_pods, OUR_TRIALS),
        }

    def start(self) -> None:
        """Begin to list and watch, in threads."""
        for feed in self._feeds.values():
            feed.start()

    def stop(self) -> None:
        """End the watches at the next chance."""
        for feed in self._feeds.values():
            feed.stop()

    def is_ready(self) -> bool:
        """Return whether experiments and trials were listed."""
        return all(self._feeds[name].listed.is_set() for name in ("experiments", "trials"))

    def __call__(self) -> Reading:
        """Return all experiments as they are now, from memory."""
        now = self._clock()
        with self._lock:
            for key in self._experiments.keys() - self._measured.keys():
                self._measured[key] = self._measure(key, now)
            found = [self._aged(key, now) for key in self._experiments]
        feeds = self._feeds.items()
        sources = {name: (feed.is_alive(), feed.last_heard) for name, feed in feeds}
        return Reading(found, sources=sources)

    def _measure(self, key: Key, now: float) -> Snapshot:
        trials = self._trials.get(key, {})
        namespace = key[0]
        facts = experiment_facts(self._experiments[key], list(trials.values()), now=now)
        found = [with_pod(t.facts, self._pods.get((namespace, n))) for n, t in trials.items()]
        return measure(facts, found)

    def _aged(self, key: Key, now: float) -> Snapshot:
        """Return a snapshot with the time that a running experiment has run until now."""
        snapshot, experiment = self._measured[key], self._experiments[key]
        if experiment.completed is not None:
            return snapshot
        seconds = max(0.0, now - experiment.created)
        return replace(snapshot, facts=replace(snapshot.facts, seconds=seconds))

    def _take_experiment(self, event: str, item: Object) -> None:
        key = key_of(item)
        found = None if event == "DELETED" else _parsed(katib_experiment, item)
        with self._lock:
            self._measured.pop(key, None)
            if found is None:
                self._experiments.pop(key, None)
            else:
                self._experiments[key] = found

    def _take_trial(self, event: str, item: Object) -> None:
        namespace, name = key = key_of(item)
        found = None if event == "DELETED" else _parsed(katib_trial, item)
        with self._lock:
            owner = self._owners.pop(key, None)
            if found is not None:
                owner = self._owners[key] = found.experiment
                self._trials.setdefault((namespace, owner), {})[name] = found
            elif owner is not None:
                self._trials[namespace, owner].pop(name, None)
                self._pods.pop(key, None)
                if not self._trials[namespace, owner]:
                    del self._trials[namespace, owner]
            self._measured.pop((namespace, owner or ""), None)

    def _take_pod(self, event: str, item: Object) -> None:
        """Keep what a trial's pod says, also when the pod has gone: its trial is still there."""
        trial = (item["metadata"].get("labels") or {}).get(JOB_LABEL)
        found = None if event == "DELETED" or not trial else _parsed(pod_facts, item)
        if found is None:
            return
        key = item["metadata"].get("namespace", ""), str(trial)
        with self._lock:
            self._pods[key] = found
            self._measured.pop((key[0], self._owners.get(key, "")), None)

    def _fail(self, error: ClusterError) -> None:
        self.fault = error

    def _miss_pods(self, error: ClusterError) -> None:
        logger.warning("pods cannot be read, so queue times are not known: %s", error)


def key_of(item: Object) -> Key:
    """Return namespace and name of an object."""
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def _parsed(read: Callable[[Object], Any], item: Object) -> Any:
    """Return what an object says, or None where it is not as Katib writes it."""
    try:
        return read(item)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        logger.warning("%s/%s is left out: %r", *key_of(item), error)
        return None
