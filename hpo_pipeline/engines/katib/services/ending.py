"""When a search on Katib is over before its last trial, and telling Katib so.

Katib has neither a time budget nor a way to stop running trials once a goal is reached. Here the
stopping service decides it: trials end at their next report, no new ones are suggested, and when
none runs any more, the status of the experiment becomes Succeeded, with the reason.

A trial that does not end, because it has no pod, say, is marked Killed after a while and its job is
deleted. Katib makes a deleted job anew until it has seen that the trial is Killed, so the job is
deleted some seconds later, and once more if it came back. All this happens before the experiment
ends, for Katib then removes the pod of this service.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from hpo_pipeline.engines.katib.follow_mark import ABANDONED, Silence, mark_of
from hpo_pipeline.engines.katib.names import EXPERIMENT_LABEL, MINUTES_ANNOTATION, STOP_ANNOTATION
from hpo_pipeline.engines.katib.status import ended_status, is_complete, killed_status
from hpo_pipeline.engines.kubernetes.api import EXPERIMENTS, JOBS, TRIALS, Api, Object
from hpo_pipeline.errors import ClusterError

logger = logging.getLogger(__name__)

PATIENCE = 120.0
"""Seconds that trials have to end by themselves once the search is over."""
ABANDONED_PATIENCE = 40.0
"""The same where nobody waits for the results any more."""
SEEN_SECONDS = 4.0
"""Seconds after which Katib has seen that a trial is Killed."""
GONE_SECONDS = 15.0
"""Seconds during which the job of a killed trial is deleted whenever it is there."""
NOT_FOUND, FORBIDDEN = 404, 403


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
        self._killed: dict[str, datetime] = {}
        self.is_gone = False
        self.reason: str | None = None

    def decide(self, reason: str | None) -> None:
        """Take it that the search is over, if there is a reason; the first one stays."""
        if reason is not None and self.reason is None:
            self.reason, self._since = reason, self._now()
            logger.info("%s is over: %s", self._experiment, reason)

    def refuses_more(self) -> str | None:
        """Return why no more trials are wanted at this moment, or None."""
        if self.reason is None and not self._silence.has_read:
            self.check()
        if self.reason is None and self._silence.is_doubtful:
            return "waiting for the pipeline that follows it to renew its mark"
        return self.reason

    def check(self) -> None:
        """Look whether the time is up or somebody asked to stop; end what has ended."""
        try:
            found = self._api.get(EXPERIMENTS, self._namespace, self._experiment)
            self.decide(self._asked(found))
            if self.reason is not None and not is_complete(found) and self._is_idle():
                self._end(found)
        except ClusterError as error:
            self.is_gone = error.status == NOT_FOUND
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
        """Return whether no trial runs any more; after some time, end those that do."""
        assert self._since is not None
        labels = f"{EXPERIMENT_LABEL}={self._experiment}"
        listed = self._api.list(TRIALS, self._namespace, labels=labels)["items"]
        left = [trial for trial in listed if not is_complete(trial)]
        now = self._now()
        patience = ABANDONED_PATIENCE if self.reason == ABANDONED else PATIENCE
        if left and (now - self._since).total_seconds() > patience:
            for trial in left:
                self._kill(trial, now)
            return False
        cleared = [
            self._is_cleared(name, (now - at).total_seconds()) for name, at in self._killed.items()
        ]
        return not left and all(cleared)

    def _kill(self, trial: Object, now: datetime) -> None:
        name = trial["metadata"]["name"]
        logger.info("%s has not ended by itself and is killed", name)
        change = {"status": killed_status(trial, now, f"the search is over: {self.reason}")}
        self._api.patch(TRIALS, self._namespace, name, change, subresource="status")
        self._killed[name] = now

    def _is_cleared(self, trial: str, seconds: float) -> bool:
        """Delete the job of a killed trial, for some seconds; tell whether they are over."""
        if seconds < SEEN_SECONDS:
            return False
        try:
            self._api.delete(JOBS, self._namespace, trial)
        except ClusterError as error:
            if error.status == FORBIDDEN:
                # A Role of an earlier version. The job ends by its deadline, where it has one.
                logger.warning("%s: %s; apply manifests/base again", trial, error)
                return True
            if error.status != NOT_FOUND:
                raise
        return seconds > GONE_SECONDS

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
