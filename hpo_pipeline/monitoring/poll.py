"""A source of metrics that is asked now and then, never during a scrape."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from hpo_pipeline.errors import HpoError
from hpo_pipeline.monitoring.collector import Reading

logger = logging.getLogger(__name__)

INTERVAL = 60.0


class Poll(threading.Thread):
    """Reads something each minute; what it read last stays when it cannot be read.

    Args:
        source: its name among the metrics.
        ask: returns what there is now.
    """

    def __init__(
        self, source: str, ask: Callable[[], Reading], *, interval: float = INTERVAL
    ) -> None:
        super().__init__(daemon=True, name=f"{source} poll")
        self._source, self._ask, self._interval = source, ask, interval
        self._ended = threading.Event()
        self._reading = Reading(sources={source: (False, 0.0)})

    def stop(self) -> None:
        """End at the next chance."""
        self._ended.set()

    def run(self) -> None:
        """Read until `stop`."""
        while not self._ended.is_set():
            self.read()
            self._ended.wait(self._interval)

    def read(self) -> None:
        """Read once."""
        try:
            found = self._ask()
            self._reading = replace(found, sources={self._source: (True, time.time())})
        except (HpoError, OSError) as error:
            logger.warning("%s: cannot be read: %s", self._source, error)
            _, last = self._reading.sources[self._source]
            self._reading = replace(self._reading, sources={self._source: (False, last)})

    def __call__(self) -> Reading:
        """Return what was read last."""
        return self._reading
