"""The registered models as a source of metrics: read now and then, never during a scrape."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from datetime import datetime

from hpo_pipeline.errors import HpoError
from hpo_pipeline.monitoring.collector import Reading, Source
from hpo_pipeline.monitoring.snapshot import ModelSnapshot
from hpo_pipeline.registry import Registry

logger = logging.getLogger(__name__)

INTERVAL = 60.0


class RegistryPoll(threading.Thread):
    """Reads a registry each minute; what it read last stays when the registry cannot be read."""

    def __init__(self, registry: Registry, *, interval: float = INTERVAL) -> None:
        super().__init__(daemon=True, name="registry poll")
        self._registry, self._interval = registry, interval
        self._ended = threading.Event()
        self._reading = Reading(sources={"registry": (False, 0.0)})

    def stop(self) -> None:
        """End at the next chance."""
        self._ended.set()

    def run(self) -> None:
        """Read until `stop`."""
        while not self._ended.is_set():
            self.read()
            self._ended.wait(self._interval)

    def read(self) -> None:
        """Read the registry once."""
        try:
            models = tuple(model_snapshot(self._registry, n) for n in self._registry.names())
            self._reading = Reading(models=models, sources={"registry": (True, time.time())})
        except (HpoError, OSError) as error:
            logger.warning("the registry cannot be read: %s", error)
            _, last = self._reading.sources["registry"]
            self._reading = replace(self._reading, sources={"registry": (False, last)})

    def __call__(self) -> Reading:
        """Return what was read last."""
        return self._reading


def model_snapshot(registry: Registry, name: str) -> ModelSnapshot:
    """Return a model as its registry has it."""
    champion, versions = registry.champion(name), registry.versions(name)
    last = _seconds(versions[-1].created) if versions else None
    found = ModelSnapshot(name, versions=len(versions), last_registered=last)
    if champion is None:
        return found
    return replace(
        found,
        champion_version=champion.version,
        champion_created=_seconds(champion.created),
        champion_metrics=champion.test_metrics,
    )


def joined(*sources: Source) -> Source:
    """Return one source of what several know."""

    def read() -> Reading:
        found = [source() for source in sources]
        return Reading(
            experiments=[e for reading in found for e in reading.experiments],
            models=[m for reading in found for m in reading.models],
            sources={n: state for reading in found for n, state in reading.sources.items()},
        )

    return read


def _seconds(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
