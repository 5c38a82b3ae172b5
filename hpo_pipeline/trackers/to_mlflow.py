"""MLflow: the run is a run with the trials below it, in the experiment of the same name.

MLFLOW_TRACKING_URI says where. In a Kubeflow pipeline, its MLFLOW_EXPERIMENT_ID and MLFLOW_RUN_ID
say which experiment, and below which run. Only functions import MLflow's client: it is loaded in
the process that sends. A metric that is sent again with the same time is the same to the server.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from hpo_pipeline.errors import Refused, RegistryError, TrackingError
from hpo_pipeline.experiment.space import render
from hpo_pipeline.registry.interfaces import Access
from hpo_pipeline.registry.server.address import Address, reach
from hpo_pipeline.registry.server.credentials import refusal
from hpo_pipeline.registry.server.mlflow import SETTINGS, credentials
from hpo_pipeline.results.outcome import Winner
from hpo_pipeline.results.run_paths import RunPaths
from hpo_pipeline.results.trial import TrialState
from hpo_pipeline.trackers.interface import CURVE, Ledger, RunEntry, TrackedRun, TrialEntry

if TYPE_CHECKING:
    from mlflow import MlflowClient

URI = "MLFLOW_TRACKING_URI"
RUN_TAG, TRIAL_TAG = "hpo-pipeline.run", "hpo-pipeline.trial"
GROUP = ""
"""Where the ledger has the run itself; a trial has its name, which is never empty."""
BATCH = 100
LONGEST_VALUE = 6000
STATUS = {
    TrialState.SUCCEEDED: "FINISHED",
    TrialState.STOPPED: "FINISHED",  # it has a result; the tag hpo-pipeline.state says more
    TrialState.FAILED: "FAILED",
}
GROUP_STATUS = {"succeeded": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
LATER = (
    *("TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR", "REQUEST_LIMIT_EXCEEDED", "DEADLINE_EXCEEDED"),
    *("UNAUTHENTICATED", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "BAD_REQUEST"),
)
"""Errors of the server that say nothing about what it was sent."""


def faults(environ: Mapping[str, str]) -> list[str]:
    """Return what is wrong with the package or the settings."""
    if importlib.util.find_spec("mlflow") is None:
        return ["needs the package mlflow-skinny: pip install 'hpo-pipeline[mlflow]'"]
    try:
        _address(environ)
    except TrackingError as error:
        return [str(error)]
    return []


def open_tracker(run: TrackedRun, ledger: Ledger) -> MlflowTracker:
    """Open the server of the environment."""
    address = _address(run.environ)
    try:
        reach(address)  # the client would try for long
    except RegistryError as error:
        raise TrackingError(f"{address.url} does not answer") from error
    # The queue repeats what fails: a client that repeats a creation by itself would do it twice.
    for name, value in {**SETTINGS, "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}.items():
        os.environ.setdefault(name, value)
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    from mlflow import MlflowClient

    return MlflowTracker(run, ledger, MlflowClient(address.url, address.url), address.url)


class MlflowTracker:
    """The `Tracker` of an MLflow server."""

    def __init__(self, run: TrackedRun, ledger: Ledger, client: MlflowClient, url: str) -> None:
        self._run, self._ledger, self._client, self._url = run, ledger, client, url
        self._experiment: str | None = None

    def trial(self, entry: TrialEntry) -> None:
        with self._translated(entry.name):
            known = self._ledger.get(_id_of(entry.name))
            if known and entry.begins_anew:
                self._client.delete_run(known)
                known = None
                self._ledger.set(_id_of(entry.name), "")
            if not known:
                known = self._created(entry.name, parent=self._group(), time=entry.time)
                kind = {"hpo-pipeline.kind": "replicate" if entry.is_replicate else "trial"}
                params = {name: render(value) for name, value in entry.assignments.items()}
                self._log(known, params=params, tags=kind)
            metrics = [
                (CURVE + name, value, timed.time, timed.point.training_step)
                for timed in entry.points
                for name, value in timed.point.metrics.items()
            ]
            tags: dict[str, str] = {}
            if entry.ended is not None:
                last = entry.ended.training_steps
                metrics += [(n, v, entry.time, last) for n, v in entry.ended.metrics.items()]
                tags = {"hpo-pipeline.state": entry.ended.state.value}
                tags |= {"hpo-pipeline.reason": entry.ended.reason or ""}
            self._log(known, metrics=metrics, tags=tags)
            if entry.ended is not None:
                status = STATUS[entry.ended.state]
                self._client.set_terminated(known, status, int(entry.time * 1000))

    def run(self, entry: RunEntry) -> None:
        with self._translated("the run"):
            group, state = self._group(), entry.state
            status = GROUP_STATUS.get(state.state or "running", "RUNNING")
            tags = {"hpo-pipeline.state": state.state or "running"}
            tags |= {"hpo-pipeline.reason": state.reason or ""}
            if state.winner is not None:
                tags |= {"hpo-pipeline.winner": state.winner.name}
                tags |= {"hpo-pipeline.registered": state.winner.registered or ""}
                self._log(group, metrics=_result(state.winner, entry.time))
                self._crown(state.winner, entry.time)
            self._log(group, tags=tags)
            if status == "RUNNING":
                self._client.update_run(group, status=status)
            else:
                self._client.set_terminated(group, status, int(entry.time * 1000))

    def close(self) -> None:
        """Nothing is held back."""

    def _crown(self, won: Winner, time: float) -> None:
        """Mark the trial that won, and give it its test metrics and its model."""
        known, before = self._ledger.get(_id_of(won.name)), self._ledger.get("winner")
        if not known:
            return  # it was refused
        if before and before != won.name and (loser := self._ledger.get(_id_of(before))):
            self._log(loser, tags={"hpo-pipeline.winner": "false"})
        test = [(f"test_{name}", value, time, 0) for name, value in won.test.items()]
        self._log(known, metrics=test, tags={"hpo-pipeline.winner": "true"})
        self._ledger.set("winner", won.name)
        model = RunPaths(self._run.folder).model
        mark = f"{won.run or won.name} {won.model}"
        if won.model and model.is_dir() and self._ledger.get("model") != mark:
            self._client.log_artifacts(known, str(model), "model")
            self._ledger.set("model", mark)
        elif won.model:
            self._log(known, tags={"hpo-pipeline.model": won.model})

    def _group(self) -> str:
        known = self._ledger.get(_id_of(GROUP))
        if known:
            return known
        parent = self._run.environ.get("MLFLOW_RUN_ID")
        known = self._created(GROUP, parent=parent, time=None)
        experiment = self._run.experiment
        goals = ", ".join(f"{o.goal} {o.score or o.name}" for o in experiment.objective)
        tags = {"hpo-pipeline.kind": "search", "hpo-pipeline.experiment": experiment.name}
        tags |= {"hpo-pipeline.objective": goals}
        tags |= {"hpo-pipeline.constraints": "; ".join(experiment.constraints)}
        self._log(known, tags=tags)
        return known

    def _created(self, name: str, *, parent: str | None, time: float | None) -> str:
        """Create a run, or find the one whose creation was not heard of any more.

        The ledger says before each creation that there may be one: only then it is looked for.
        """
        if self._experiment is None:
            self._experiment = _experiment(self._client, self._run, self._url)
        mark = f"may be there {name}"
        if self._ledger.get(mark) == "yes" and (found := self._find(name)):
            self._ledger.set(_id_of(name), found)
            return found
        self._ledger.set(mark, "yes")
        tags = {RUN_TAG: self._run.run_id, TRIAL_TAG: name}
        if parent:
            tags["mlflow.parentRunId"] = parent
        made = self._client.create_run(
            self._experiment,
            start_time=None if time is None else int(time * 1000),
            run_name=name or f"{self._run.experiment.name}-{self._run.run_id[:8]}",
            tags=tags,
        )
        known = str(made.info.run_id)
        self._ledger.set(_id_of(name), known)
        self._ledger.set(mark, "")
        return known

    def _find(self, name: str) -> str | None:
        wanted = f"tags.`{RUN_TAG}` = '{self._run.run_id}' and tags.`{TRIAL_TAG}` = '{name}'"
        found = [str(r.info.run_id) for r in self._client.search_runs([self._experiment], wanted)]
        for double in found[1:]:
            self._client.delete_run(double)
        return found[0] if found else None

    def _log(
        self,
        run: str,
        *,
        metrics: Sequence[tuple[str, float, float, int]] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Send values; a metric is a name, a value, its time in seconds and a training step."""
        from mlflow.entities import Metric, Param, RunTag

        numbers = [Metric(_plain(n), v, int(t * 1000), step) for n, v, t, step in metrics]
        texts = [Param(_plain(n), v[:LONGEST_VALUE]) for n, v in (params or {}).items()]
        labels = [RunTag(n, v[:LONGEST_VALUE]) for n, v in (tags or {}).items()]
        most = max(len(numbers), len(texts), len(labels))
        for start in range(0, most, BATCH):
            part = slice(start, start + BATCH)
            self._client.log_batch(run, numbers[part], texts[part], labels[part])

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        from mlflow.exceptions import MlflowException, RestException

        try:
            yield
        except (MlflowException, RegistryError, OSError) as error:
            text = f"{self._url}: {str(error).splitlines()[0][:300]}"
            code = getattr(error, "error_code", "")
            if isinstance(error, RestException) and code not in LATER:
                raise Refused(f"{what} was refused by {text}") from error
            raise TrackingError(text) from error


def _experiment(client: Any, run: TrackedRun, url: str) -> str:
    from hpo_pipeline.registry.server.mlflow_experiments import experiment_of

    return experiment_of(client, run.environ, run.experiment.name, url)


def _result(won: Winner, time: float) -> list[tuple[str, float, float, int]]:
    named = {**won.metrics, **{f"test_{name}": value for name, value in won.test.items()}}
    return [(name, value, time, 0) for name, value in named.items()]


def _id_of(name: str) -> str:
    return f"id {name}"


def _plain(name: str) -> str:
    """Return a name that MLflow takes: letters, digits, and a few marks."""
    return re.sub(r"[^\w\-. /:]", "_", name)


def _address(environ: Mapping[str, str]) -> Address:
    """Return the server of the environment, which may be sent the credentials there.

    Raises:
        TrackingError: there is none, or the credentials would be sent so that others can read them.
    """
    uri = environ.get(URI, "")
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        parts, host = urlsplit(""), ""
    if parts.scheme not in ("http", "https") or not host:
        raise TrackingError(f"set {URI} to http://HOST:PORT or https://HOST")
    if "@" in parts.netloc:
        raise TrackingError(
            f"{URI} must be without user and password; set MLFLOW_TRACKING_USERNAME and "
            f"MLFLOW_TRACKING_PASSWORD"
        )
    address = Address(uri.rstrip("/"), {})
    found = credentials(environ)
    reason = refusal(address, Access(environ, is_named=True)) if found else ""
    if reason:
        raise TrackingError(f"{address.url}: there are credentials in {found}; {reason}")
    return address
