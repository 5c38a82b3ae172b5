"""Following objects of the cluster: list once, then watch, and resume after any error."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from hpo_pipeline.engines.kubernetes.api import Api, Kind, Object
from hpo_pipeline.errors import ClusterError

logger = logging.getLogger(__name__)

GONE = 410
FATAL = (401, 403, 404)
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0

Take = Callable[[str, Object], None]
"""Takes ADDED, MODIFIED or DELETED and the object."""


class Feed(threading.Thread):
    """Follows the objects of a kind that carry labels, in a thread of its own.

    | what happens              | what it does                                         |
    | ------------------------- | ---------------------------------------------------- |
    | the server ends the watch | watches on from the last version                     |
    | 410, the version is gone  | lists again; what is missing then is reported as DELETED |
    | the connection breaks     | the same after a pause, which doubles up to 30 s     |
    | 401, 403, 404             | ends, and tells why                                  |
    """

    def __init__(
        self,
        api: Api,
        kind: Kind,
        namespace: str,
        *,
        labels: str,
        take: Take,
        failed: Callable[[ClusterError], None],
    ) -> None:
        super().__init__(daemon=True, name=f"feed of {kind.plural}")
        self._api, self._kind, self._namespace, self._labels = api, kind, namespace, labels
        self._take, self._failed = take, failed
        self._ended = threading.Event()
        self._known: dict[str, Object] = {}
        self._version: str | None = None

    def stop(self) -> None:
        """End at the next chance; a thread that waits for the server dies with the process."""
        self._ended.set()

    def run(self) -> None:
        """List and watch until `stop`."""
        pause = FIRST_PAUSE
        while not self._ended.is_set():
            try:
                self._follow()
                pause = FIRST_PAUSE
            except ClusterError as error:
                if error.status in FATAL:
                    self._failed(error)
                    return
                self._version = None
                if error.status != GONE:
                    logger.debug("%s: %s", self.name, error)
                    self._ended.wait(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)

    def _follow(self) -> None:
        if self._version is None:
            self._list()
        assert self._version is not None
        found = self._api.watch(
            self._kind, self._namespace, labels=self._labels, since=self._version
        )
        for event, item in found:
            if self._ended.is_set():
                return
            self._version = item["metadata"]["resourceVersion"]
            if event != "BOOKMARK":
                self._tell(event, item)

    def _list(self) -> None:
        found = self._api.list(self._kind, self._namespace, labels=self._labels)
        names = {item["metadata"]["name"] for item in found["items"]}
        for name in self._known.keys() - names:
            self._tell("DELETED", self._known[name])
        for item in found["items"]:
            self._tell("MODIFIED", item)
        self._version = found["metadata"]["resourceVersion"]

    def _tell(self, event: str, item: Object) -> None:
        name = item["metadata"]["name"]
        if event == "DELETED":
            self._known.pop(name, None)
        else:
            self._known[name] = item
        self._take(event, item)
