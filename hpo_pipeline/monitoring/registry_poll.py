"""The registered models as a source of metrics: read now and then, never during a scrape."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from hpo_pipeline.monitoring.collector import Reading, Source
from hpo_pipeline.monitoring.poll import Poll
from hpo_pipeline.monitoring.snapshot import ModelSnapshot
from hpo_pipeline.registry import Registry


def registry_poll(registry: Registry) -> Poll:
    """Return a poll that reads a registry each minute."""

    def ask() -> Reading:
        return Reading(models=tuple(model_snapshot(registry, n) for n in registry.names()))

    return Poll("registry", ask)


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
            schedules=[s for reading in found for s in reading.schedules],
            sources={n: state for reading in found for n, state in reading.sources.items()},
        )

    return read


def _seconds(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
