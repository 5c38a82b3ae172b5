"""Trials that do not start: why, and whether any of them ever will."""

from __future__ import annotations

from datetime import datetime

from hpo_pipeline.engines.katib import status
from hpo_pipeline.engines.katib.view import ExperimentView
from hpo_pipeline.engines.kubernetes.api import Api
from hpo_pipeline.engines.kubernetes.capacity import never_fits
from hpo_pipeline.engines.kubernetes.diagnosis import (
    created,
    overdue_cause,
    pending_cause,
    waiting_since,
)
from hpo_pipeline.engines.kubernetes.podless import PodlessJobs

VAIN_SECONDS = 60.0


class Waiting:
    """Looks at the trials of an experiment whose pods do not start, or were not even made."""

    def __init__(self, view: ExperimentView, api: Api, namespace: str) -> None:
        self._view = view
        self._podless = PodlessJobs(api, namespace)
        self._refused: dict[str, str] = {}

    def overdue(self, now: datetime) -> dict[str, str]:
        """Return why trials do not start that should have by now."""
        without_pod = {
            name: created(item)
            for name, item in self._view.items.items()
            if name not in self._view.pods and not status.is_complete(item)
        }
        self._refused = self._podless.causes(without_pod, now)
        pods = {trial: overdue_cause(pod, now) for trial, pod in self._view.pods.items()}
        return {trial: cause for trial, cause in pods.items() if cause} | self._refused

    def cause(self, trial: str) -> str | None:
        """Return why a trial does not start, if it is known."""
        return self._refused.get(trial) or pending_cause(self._view.pods.get(trial) or {})

    def in_vain(self, now: datetime) -> str | None:
        """Return why no trial will ever start; None where one may.

        Their image cannot be had, or they ask for more than the namespace ever allows.
        """
        active = [n for n, item in self._view.items.items() if not status.is_complete(item)]
        since = [self._in_vain_since(name) for name in active]
        known = [at for at in since if at is not None]
        if not active or len(known) < len(active):
            return None
        if min((now - at).total_seconds() for at in known) <= VAIN_SECONDS:
            return None
        return self.cause(active[0]) or "no pod starts"

    def _in_vain_since(self, trial: str) -> datetime | None:
        pod, refusal = self._view.pods.get(trial), self._refused.get(trial)
        if pod is not None:
            return waiting_since(pod)
        return created(self._view.items[trial]) if refusal and never_fits(refusal) else None
