"""`hpo run --notify`: start, failure and end of a run, posted to a Slack-compatible webhook.

Anyone with the address of a webhook can post there: it is a secret, and no message or log names it.
Notices are sent by a thread; a webhook that does not answer delays no trial.
"""

from __future__ import annotations

import json
import queue
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from hpo_pipeline.errors import MonitoringError
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.registry.server.credentials import is_loopback
from hpo_pipeline.reports import formatting
from hpo_pipeline.reports.terminal import Progress, progress_text
from hpo_pipeline.reports.terminal.forwarding import ForwardingProgress
from hpo_pipeline.results.ranking import winner
from hpo_pipeline.results.trial import Trial

SECONDS = 5.0
"""How long a webhook may take to answer, and how long the end of a run waits for its notice."""
LONGEST_REASON = 500
VARIABLE = "HPO_NOTIFY_URL"


def check_webhook(url: str) -> str:
    """Return a webhook's address, if it may be used.

    Raises:
        MonitoringError: it is no https address; http is for this machine only.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host, parts = "", urlsplit("")
    if not host or parts.scheme not in ("http", "https"):
        raise MonitoringError(f"--notify or {VARIABLE}: must be https://HOST/PATH")
    if parts.scheme == "http" and not is_loopback(host):
        raise MonitoringError(
            f"--notify or {VARIABLE}: must be https, because the address is a secret; http is for "
            f"this machine only"
        )
    return url


class Webhook(threading.Thread):
    """Posts texts in their order; one that cannot be posted is dropped and passed to `failed`."""

    def __init__(
        self, url: str, failed: Callable[[str], None], *, patience: float = SECONDS
    ) -> None:
        super().__init__(daemon=True, name="notices")
        self._url, self._failed, self._patience = url, failed, patience
        self._texts: queue.Queue[str | None] = queue.Queue()
        self._has_failed = False

    def post(self, text: str) -> None:
        """Send a text soon."""
        self._texts.put(text)

    def close(self) -> None:
        """Send what is left; wait for it only where the webhook has answered so far."""
        self._texts.put(None)
        if not self._has_failed:
            self.join(self._patience)

    def run(self) -> None:
        """Send until `close`."""
        opener = urllib.request.build_opener(_NoRedirect)
        while (text := self._texts.get()) is not None:
            request = urllib.request.Request(
                self._url,
                json.dumps({"text": text}).encode(),
                {"Content-Type": "application/json", "User-Agent": "hpo-pipeline"},
            )
            try:
                with opener.open(request, timeout=self._patience):
                    pass
            except (OSError, ValueError) as error:
                if not self._has_failed:
                    self._failed(f"the notice could not be sent: {_cause(error)}")
                self._has_failed = True


class NotifyingProgress(ForwardingProgress):
    """Hands everything on to another progress, and posts when the run starts and ends."""

    def __init__(
        self, progress: Progress, experiment: Experiment, post: Callable[[str], None]
    ) -> None:
        super().__init__(progress)
        self._experiment, self._post = experiment, post
        self._trials: tuple[Trial, ...] = ()
        self._seconds = 0.0
        self._has_started = False

    def started(self, total: int, parallel: int) -> None:
        if not self._has_started:
            goals = ", ".join(f"{o.goal} {o.name}" for o in self._experiment.objective)
            self._post(plain(f"{self._experiment.name} started: {total} trials; {goals}"))
        self._has_started = True
        super().started(total, parallel)

    def update(self, trials: Sequence[Trial], *, seconds: float) -> None:
        self._trials, self._seconds = tuple(trials), seconds
        super().update(trials, seconds=seconds)

    def ended(self, state: str, reason: str | None) -> None:
        """Post how the run ended."""
        parts = [f"{self._experiment.name} {state}" + (f": {reason}" if reason else "")]
        if self._trials:
            best = winner(self._experiment, self._trials)
            parts.append(progress_text.counts(self._trials))
            parts.append(progress_text.best(self._experiment, best))
            parts.append(formatting.duration(self._seconds))
        self._post(plain("; ".join(parts)))


def plain(text: str) -> str:
    """Return a text in which Slack finds no links, mentions or markup of its own."""
    short = text if len(text) <= LONGEST_REASON else text[: LONGEST_REASON - 1] + "…"
    return short.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any) -> None:
        """Follow no redirection: the notice is for the address that was given."""


def _cause(error: Exception) -> str:
    """Return why, without the address."""
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        return f"the webhook answered {error.code}"
    if isinstance(error, urllib.error.URLError):
        reason = error.reason
        return str(getattr(reason, "strerror", None) or type(reason).__name__)
    return type(error).__name__
