"""The whole flow at once, as `hpo run` does it: on this machine, or on a cluster from here."""

from __future__ import annotations

from pathlib import Path

from hpo_pipeline.engines.interruption import Interruption
from hpo_pipeline.engines.katib.engine import KatibEngine
from hpo_pipeline.engines.kubernetes.api import Api
from hpo_pipeline.engines.local.engine import LocalEngine
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.report.terminal import Progress
from hpo_pipeline.results.outcome import SearchResult
from hpo_pipeline.results.run_folder import RunFolder
from hpo_pipeline.run.flow import Flow, source_revision


def run_here(
    experiment: Experiment,
    folder: RunFolder,
    *,
    source: Path,
    progress: Progress,
    registry: str | None = None,
) -> SearchResult:
    """Run an experiment on this machine, or go on with it.

    Raises:
        HpoError: as `Flow.run` does.
    """
    with folder.locked(), Interruption().installed() as interruption:
        site = LocalEngine(experiment, folder, source=source, progress=progress, registry=registry)
        flow = Flow(
            experiment,
            folder,
            site,
            progress=progress,
            source=source,
            registry=registry,
            provenance=source_revision(source.parent),
        )
        try:
            return flow.run(interruption)
        finally:
            site.close()


def run_there(
    experiment: Experiment,
    folder: RunFolder,
    api: Api,
    *,
    progress: Progress,
    source: Path | None = None,
    registry: str | None = None,
) -> SearchResult:
    """Run an experiment on a cluster, or come back to it; results are kept in a folder here too.

    Args:
        source: its file; None for one that is in the cluster already.

    Raises:
        HpoError: as `Flow.run` does; an interruption leaves the experiment running.
    """
    with folder.locked(), Interruption().installed() as interruption:
        site = KatibEngine(experiment, folder, api, progress=progress, registry=registry)
        flow = Flow(
            experiment,
            folder,
            site,
            progress=progress,
            source=source,
            registry=registry,
            provenance=source_revision(source.parent) if source else {},
        )
        return flow.run(interruption)
