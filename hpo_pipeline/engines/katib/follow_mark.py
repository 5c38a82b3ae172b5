"""The dead man's switch of an experiment that a pipeline has started.

A pipeline can be terminated without any chance to clean up, and nobody would then stop its trials.
So its experiment carries a mark, an annotation with a time, which the client that follows the
experiment renews. The services beside the search end an experiment whose mark has stopped
changing. One that `hpo run` or `kubectl apply` has started carries no mark, and continues without
a follower.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from hpo_pipeline.engines.katib.names import FOLLOWED_ANNOTATION
from hpo_pipeline.engines.kubernetes.api import EXPERIMENTS, Api, Object
from hpo_pipeline.errors import ClusterError

logger = logging.getLogger(__name__)

RENEW_SECONDS = 30.0
SILENCE_SECONDS = 150.0
"""How long a mark may stay the same; trials then get some seconds more to end by themselves."""
READ_SECONDS = 60.0
GRACE_SECONDS = 50.0
"""How long a follower has to renew a mark that was already old when it was first read."""
MARK_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
ABANDONED = "the pipeline that followed it has gone"
FORBIDDEN, NOT_FOUND = 403, 404


def mark_of(experiment: Object) -> str | None:
    """Return the mark of an experiment; None if it needs no follower."""
    found: str | None = (experiment["metadata"].get("annotations") or {}).get(FOLLOWED_ANNOTATION)
    return found


def new_mark(now: datetime) -> dict[str, str]:
    """Return the annotation that marks an experiment as followed at this moment."""
    return {FOLLOWED_ANNOTATION: now.astimezone(UTC).strftime(MARK_FORMAT)}


class Renewal:
    """The follower's side: keeps the mark of one experiment fresh."""

    def __init__(
        self,
        api: Api,
        namespace: str,
        name: str,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._now = now
        self._last: datetime | None = None

    def renew(self, experiment: Object, *, add: bool = False) -> None:
        """Renew the mark unless that was done just now; call it as often as you like.

        Args:
            experiment: the object as last seen; without a mark it is left alone.
            add: mark it even if it has no mark yet.

        Raises:
            ClusterError: the experiment must not be changed, or is gone. Other errors may pass, so
                the next call tries again.
        """
        if mark_of(experiment) is None and not add:
            return
        now = self._now()
        if self._last is not None and (now - self._last).total_seconds() < RENEW_SECONDS:
            return
        change = {"metadata": {"annotations": new_mark(now)}}
        try:
            self._api.patch(EXPERIMENTS, self._namespace, self._name, change)
        except ClusterError as error:
            if error.status in (FORBIDDEN, NOT_FOUND):
                raise
            logger.debug("%s: the mark could not be renewed: %s", self._name, error)
            return
        self._last = now


class Silence:
    """The services' side: measures how long a mark has not changed.

    It uses the clock of the service alone, so clocks of other machines do not matter. Time during
    which nothing could be read does not count: the follower could not renew the mark then either.

    Services may start late, or again, when the follower has long gone. So the first reading takes
    the time in the mark at its word, and leaves the follower `GRACE_SECONDS` to renew it, more
    than it needs. A clock that is wrong can cost a living follower no more than that.
    """

    def __init__(self) -> None:
        self._mark: str | None = None
        self._since: datetime | None = None
        self._read: datetime | None = None
        self.is_doubtful = False
        """Whether the mark was old when it was first read, and has not been renewed yet."""

    @property
    def has_read(self) -> bool:
        """Whether the mark was ever read."""
        return self._read is not None

    def is_too_long(self, mark: str | None, now: datetime) -> bool:
        """Take the mark as just read; tell whether the follower has been silent for too long."""
        was_blind = self._read is None or (now - self._read).total_seconds() > READ_SECONDS
        if self._read is None:
            age = _age(mark, now)
            self.is_doubtful = age > SILENCE_SECONDS
            self._since = now - timedelta(seconds=min(age, SILENCE_SECONDS - GRACE_SECONDS))
        elif mark != self._mark or was_blind or self._since is None:
            self._since = now
            self.is_doubtful = self.is_doubtful and mark == self._mark
        self._mark, self._read = mark, now
        return mark is not None and (now - self._since).total_seconds() > SILENCE_SECONDS


def _age(mark: str | None, now: datetime) -> float:
    """Return how many seconds ago a mark was written; 0 where it holds no time of the past."""
    try:
        written = datetime.strptime(mark or "", MARK_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return 0.0
    return max(0.0, (now - written).total_seconds())
