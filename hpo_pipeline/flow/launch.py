"""A whole run at once, as `hpo run` and `hpo.run` do it, on whichever engine."""

from __future__ import annotations

from dataclasses import replace

from hpo_pipeline.engines import RunContext, engine_faults, known_run_id, open_engine
from hpo_pipeline.engines.interruption import Interruption
from hpo_pipeline.errors import ExperimentError
from hpo_pipeline.flow.stages import Flow, source_revision
from hpo_pipeline.flow.tracing import traced
from hpo_pipeline.flow.tracking import check_trackers, tracked
from hpo_pipeline.jobs.baseline import resolved
from hpo_pipeline.registry import check_uri, preflight
from hpo_pipeline.results.outcome import SearchResult


def launch(engine: str, context: RunContext) -> SearchResult:
    """Run an experiment, or resume it; with Katib, reattach to it.

    Raises:
        ExperimentError: it cannot run on this engine.
        RegistryError: the winner could not be registered after the search.
        HpoError: as `Flow.run` does. An interruption leaves an experiment on a cluster running.
    """
    source = context.source
    faults = engine_faults(engine, context.experiment)
    if faults:
        raise ExperimentError(str(source or context.experiment.name), faults)
    _check_registry(engine, context)
    check_trackers(context)
    experiment, baseline = resolved(context.experiment)
    context = replace(context, experiment=experiment, baseline_notes=baseline.notes)
    with context.folder.locked(), Interruption().installed() as interruption:
        context.folder.adopt(context.experiment)
        if context.folder.state().run_id is None:
            context.folder.run_id(known_run_id(engine, context))
        with (
            traced(context, "run", engine) as with_spans,
            tracked(with_spans, context.experiment.track) as shown,
            open_engine(engine, shown) as opened,
        ):
            provenance = source_revision(source.parent) if source else {}
            return Flow(shown, opened, provenance=provenance).run(interruption)


def _check_registry(engine: str, context: RunContext) -> None:
    """Find before the search what would stop the registration after it."""
    section = context.experiment.register_
    if section is None:
        return
    if engine == "local":
        preflight(context.registry, of_file=section.registry)
    elif uri := context.registry or section.registry:
        check_uri(uri)  # its name, and the credentials for it, may be known in the cluster only
