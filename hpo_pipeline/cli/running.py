"""Runs that a person follows: start or resume one, show it, and print what came out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_pipeline.cli.watching import NOBODY, Watching

if TYPE_CHECKING:
    from hpo_pipeline.experiment.schema import Experiment
    from hpo_pipeline.results.outcome import SearchResult


def run_and_show(
    engine: str,
    experiment: Experiment,
    folder: Path,
    *,
    is_plain: bool,
    watching: Watching = NOBODY,
    **places: Any,
) -> SearchResult:
    """Run an experiment on an engine in a run folder, and print its result.

    Args:
        is_plain: lines instead of the live table, also on a terminal.
        watching: how the run is shown to others meanwhile.
        places: more of the `RunContext`.
    """
    from hpo_pipeline.cli.output import print_result
    from hpo_pipeline.engines import RunContext
    from hpo_pipeline.flow.launch import launch
    from hpo_pipeline.reports.terminal import open_progress
    from hpo_pipeline.results.run_folder import RunFolder

    run_folder = RunFolder(folder)
    progress = open_progress(experiment, sys.stdout, live=sys.stdout.isatty() and not is_plain)
    try:
        with watching.watched(progress, experiment, run_folder.path) as watched:
            result = launch(engine, RunContext(experiment, run_folder, watched.progress, **places))
            watched.ended(result.state, result.reason)
    finally:
        progress.close()
    # With the baseline written out, as the run has it.
    print_result(run_folder.experiment(), run_folder, result)
    return result
