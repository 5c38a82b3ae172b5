"""When a search on Katib is over before its last trial, and telling Katib so.

Katib knows neither a time budget nor a way to stop what runs once a goal is reached. Here the
stopping service decides it, trials end at their next word with the service, no new ones are
suggested, and when none runs any more the experiment's status says Succeeded, with the reason.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from hpo_pipeline.engines.katib.follow_mark import ABANDONED, Silence, mark_of
from hpo_pipeline.engines.katib.names import EXPERIMENT_LABEL, MINUTES_ANNOTATION, STOP_ANNOTATION
from hpo_pipeline.engines.katib.status import ended_status, is_complete
from hpo_pipeline.engines.kubernetes.api import EXPERIMENTS, TRIALS, Api, Object
from hpo_pipeline.errors import ClusterError

logger = logging.getLogger(__name__)

PATIENCE = 120.0
"""Seconds after which an experiment that is over ends although trials still run."""


class Ending:
    """The end of one experiment; `check` is called every few seconds."""

    def __init__(
        self,
        api: Api,
        namespace: str,
        experiment: str,
        *,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._experiment = experiment
        self._now = now or (lambda: datetime.now(UTC))
        self._since: datetime | None = None
        self._silence = Silence()
        self.reason: str | None = None

    def decide(self, reason: str | None) -> None:
        """Take it that the search is over, if there is a reason; the first one stays."""
        if reason is not None and self.reason is None:
            self.reason, self._since = reason, self._now()
            logger.info("%s is over: %s", self._experiment, reason)

    def check(self) -> None:
        """Look whether the time is up or somebody asked to stop; end what has ended."""
        try:
            found = self._api.get(EXPERIMENTS, self._namespace, self._experiment)
            self.decide(self._asked(found))
            if self.reason is not None and not is_complete(found) and self._is_idle():
                self._end(found)
        except ClusterError as error:
            logger.warning("%s: %s", self._experiment, error)

    def _asked(self, experiment: Object) -> str | None:
        notes = experiment["metadata"].get("annotations") or {}
        if STOP_ANNOTATION in notes:
            return f"stopped: {notes[STOP_ANNOTATION]}"
        if self._silence.is_too_long(mark_of(experiment), self._now()):
            return ABANDONED
        minutes = notes.get(MINUTES_ANNOTATION)
        if minutes is None:
            return None
        begun = datetime.fromisoformat(experiment["metadata"]["creationTimestamp"])
        is_up = (self._now() - begun).total_seconds() > float(minutes) * 60
        return f"the {float(minutes):g} minutes are over" if is_up else None

    def _is_idle(self) -> bool:
        assert self._since is not None
        if (self._now() - self._since).total_seconds() > PATIENCE:
            return True
        labels = f"{EXPERIMENT_LABEL}={self._experiment}"
        return all(
            map(is_complete, self._api.list(TRIALS, self._namespace, labels=labels)["items"])
        )

    def _end(self, experiment: Object) -> None:
        assert self.reason is not None
        change = {
            # With the version, so that a change by Katib in between is not overwritten.
            "metadata": {"resourceVersion": experiment["metadata"]["resourceVersion"]},
            "status": ended_status(experiment, self.reason, self._now()),
        }
        self._api.patch(
            EXPERIMENTS, self._namespace, self._experiment, change, subresource="status"
        )
