"""What can be seen of an experiment on a cluster: its objects, logs, and what they come to.

The engine (katib.py) fills it from its feeds, or has it read once.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hpo_pipeline.engines.katib import status
from hpo_pipeline.engines.katib.names import DATA_ANNOTATION, EXPERIMENT_LABEL
from hpo_pipeline.engines.kubernetes.api import PODS, TRIALS, Api, Object
from hpo_pipeline.engines.kubernetes.diagnosis import failure_cause
from hpo_pipeline.engines.kubernetes.names import JOB_LABEL, TRIAL_CONTAINER
from hpo_pipeline.errors import ClusterError
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.trial import Point, Trial, TrialState
from hpo_pipeline.trial.reporting.reporter import read_about, read_curve

LOG_LINES = 4000
COLLECTOR = "metrics-logger-and-collector"


class ExperimentView:
    """One experiment on a cluster, as far as it was seen.

    Attributes:
        item: the experiment; None before it was seen.
        items: the trials by name.
        pods: the last pod of each trial, by the trial's name.
        lines: what the log of each trial said so far.
        are_pods_followed: whether `pods` has all pods; then a trial without one has not started.
    """

    def __init__(self, experiment: Experiment, api: Api) -> None:
        self._experiment = experiment
        self._api = api
        self._namespace = experiment.cluster.namespace
        self._causes: dict[str, str] = {}
        self._told: dict[str, tuple[int, list[Point], dict[str, Any]]] = {}
        self.item: Object | None = None
        self.items: dict[str, Object] = {}
        self.pods: dict[str, Object] = {}
        self.lines: dict[str, list[str]] = {}
        self.are_pods_followed = False

    def data(self) -> str | None:
        """Return the fingerprint of the data that the trials are trained on, once it is known."""
        notes = (self.item or {"metadata": {}})["metadata"].get("annotations") or {}
        found: str | None = notes.get(DATA_ANNOTATION)
        return found

    def trials(self) -> list[Trial]:
        """Return the trials as they are now, with the curves from their logs."""
        found = status.states_of(self._experiment, self.items.values())
        return [self._explained(trial) for trial in found]

    def read_trials(self) -> None:
        """Read all trials, once."""
        labels = f"{EXPERIMENT_LABEL}={self._experiment.name}"
        items = self._api.list(TRIALS, self._namespace, labels=labels)["items"]
        self.items = {item["metadata"]["name"]: item for item in items}

    def read_end(self, trial: Trial) -> None:
        """Read the log of a trial again, whole, and why it failed."""
        pod = self._pod(trial.name)
        lines: list[str] = []
        if pod is not None:
            with contextlib.suppress(ClusterError):
                lines = list(self.log(pod))
        if lines:
            self.lines[trial.name] = lines
        if trial.state is TrialState.FAILED:
            said = trial.reason or "unknown"
            is_silent = said.startswith(("it ended without reporting", "it reported no finite"))
            cause = said if is_silent else failure_cause(pod, said, lines)
            self._causes[trial.name] = cause

    def has_settled(self, item: Object) -> bool:
        """Return whether a trial has ended and Katib has fetched its values."""
        trial = status.state_of(self._experiment, item)
        has_values = trial.state is not TrialState.STOPPED or bool(trial.metrics)
        return status.is_complete(item) and has_values

    def seconds(self) -> float:
        """Return how long the experiment has run, or ran."""
        found = self.item
        if found is None:
            return 0.0
        begun = datetime.fromisoformat(found["metadata"]["creationTimestamp"])
        end = (found.get("status") or {}).get("completionTime")
        until = datetime.fromisoformat(end) if end else datetime.now(UTC)
        return max(0.0, (until - begun).total_seconds())

    def log(self, pod: Object, *, follow: bool = False) -> Iterator[str]:
        """Yield the lines of a trial's log.

        Raises:
            ClusterError: it cannot be read.
        """
        name = pod["metadata"]["name"]
        tail = 0 if follow else LOG_LINES
        container = _log_container(pod)
        return self._api.log(self._namespace, name, container=container, follow=follow, tail=tail)

    def _pod(self, trial: str) -> Object | None:
        try:
            found = self._api.list(PODS, self._namespace, labels=f"{JOB_LABEL}={trial}")["items"]
        except ClusterError:
            return self.pods.get(trial)
        by_age = sorted(found, key=lambda pod: pod["metadata"]["creationTimestamp"])
        return by_age[-1] if by_age else self.pods.get(trial)

    def _has_no_pod(self, trial: str) -> bool:
        """Return whether a trial that Katib takes for running waits for a pod or for a node."""
        if not self.are_pods_followed:
            return False
        phase = (self.pods.get(trial, {}).get("status") or {}).get("phase")
        return phase not in ("Running", "Succeeded", "Failed")

    def _log_tells(self, trial: Trial) -> tuple[list[Point], dict[str, Any]]:
        """Return the curve of a trial and, once it has ended, what is known besides metrics.

        The log is read again only where it has grown.
        """
        lines = self.lines.get(trial.name, [])
        length, curve, about = self._told.get(trial.name, (0, [], {}))
        if length != len(lines):
            curve = read_curve(line.rpartition("] ")[2] for line in lines)
            about = read_about(lines)
            self._told[trial.name] = len(lines), curve, about
        return curve, about

    def _explained(self, trial: Trial) -> Trial:
        if trial.state is TrialState.RUNNING and self._has_no_pod(trial.name):
            return replace(trial, state=TrialState.WAITING)
        curve, about = self._log_tells(trial)
        found = status.with_curve(trial, curve)
        if trial.state.is_final:
            found = replace(found, **about)
        if trial.state.is_final and curve and trial.metrics:
            found = replace(found, best_step=_best_step(self._experiment, found))
        cause = self._causes.get(trial.name)
        return replace(found, reason=cause) if cause else found


def _log_container(pod: Object) -> str:
    """Return the container whose log has the metric lines: Katib's collector, where it is."""
    listed: Iterable[str] = (c["name"] for c in pod["spec"]["containers"])
    return COLLECTOR if COLLECTOR in listed else TRIAL_CONTAINER


def _best_step(experiment: Experiment, trial: Trial) -> int | None:
    first = experiment.objective[0]
    values = [(first.sign() * first.value(p.metrics), -p.step) for p in trial.curve]
    finite = [pair for pair in values if math.isfinite(pair[0])]
    return -max(finite)[1] if finite else None
