"""What several feeds report, taken in order by the one thread that follows them."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Callable

from hpo_pipeline.engines.kubernetes.api import Api, Kind, Object
from hpo_pipeline.engines.kubernetes.watch import Feed
from hpo_pipeline.errors import ClusterError


class Events:
    """A queue of calls: feeds and other threads add to it, the follower makes them."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Callable[[], None]] = queue.Queue()
        self._failure: ClusterError | None = None

    def put(self, call: Callable[[], None]) -> None:
        """Add a call, from any thread."""
        self._queue.put(call)

    def take(self, timeout: float) -> None:
        """Wait for a call at most so many seconds, and make all that are there.

        Raises:
            ClusterError: a feed has failed for good.
        """
        with contextlib.suppress(queue.Empty):
            self._queue.get(timeout=timeout)()
            while True:
                self._queue.get_nowait()()
        if self._failure is not None:
            raise self._failure

    def feed(
        self, api: Api, kind: Kind, namespace: str, labels: str, take: Callable[[str, Object], None]
    ) -> Feed:
        """Return a feed, not yet started, whose events come here."""
        return Feed(
            api,
            kind,
            namespace,
            labels=labels,
            take=lambda event, item: self.put(lambda: take(event, item)),
            failed=lambda error: self.put(lambda: self._fail(error)),
        )

    def _fail(self, error: ClusterError) -> None:
        self._failure = error
