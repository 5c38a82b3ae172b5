"""Runs that a person follows: start or resume one, show it, and print what came out."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_pipeline.cli.watching import NOBODY, Watching, state_of
from hpo_pipeline.errors import HpoError

if TYPE_CHECKING:
    from hpo_pipeline.experiment.schema import Experiment
    from hpo_pipeline.reports.terminal.json_lines import JsonLines
    from hpo_pipeline.results.outcome import SearchResult
    from hpo_pipeline.results.run_folder import RunFolder


LOG_FORMATS = ("text", "json")


def run_and_show(
    engine: str,
    experiment: Experiment,
    folder: Path,
    *,
    is_plain: bool,
    log_format: str = "text",
    watching: Watching = NOBODY,
    **places: Any,
) -> SearchResult:
    """Run an experiment on an engine in a run folder, and print its result.

    Args:
        is_plain: lines instead of the live table, also on a terminal.
        log_format: a row of `LOG_FORMATS`; `json` writes objects and no tables.
        watching: how the run is shown to others meanwhile.
        places: more of the `RunContext`.
    """
    from hpo_pipeline.cli.output import print_result
    from hpo_pipeline.engines import RunContext
    from hpo_pipeline.flow.launch import launch
    from hpo_pipeline.reports.terminal import open_progress
    from hpo_pipeline.results.run_folder import RunFolder

    run_folder = RunFolder(folder)
    lines = _json_lines(experiment, run_folder) if log_format == "json" else None
    is_live = sys.stdout.isatty() and not is_plain
    progress = lines or open_progress(experiment, sys.stdout, live=is_live)
    try:
        with watching.watched(progress, experiment, run_folder.path) as watched:
            context = RunContext(
                experiment, run_folder, watched.progress, log_format=log_format, **places
            )
            result = launch(engine, context)
            watched.ended(result.state, result.reason)
    except HpoError as error:
        if lines is not None:
            lines.write("ended", level="error", state=state_of(error), reason=str(error))
        raise
    finally:
        progress.close()
    if lines is not None:
        lines.ended(result.summary())
        return result
    # With the baseline written out, as the run has it.
    print_result(run_folder.experiment(), run_folder, result)
    return result


def _json_lines(experiment: Experiment, folder: RunFolder) -> JsonLines:
    """Return a display that writes JSON, which the log of this process then goes through too."""
    from hpo_pipeline.reports.terminal.json_lines import JsonHandler, JsonLines

    def run_id() -> str | None:
        try:
            return folder.state().run_id
        except HpoError:
            return None  # a damaged folder, of which the run says more

    lines = JsonLines(experiment, sys.stdout, run_id)
    logging.getLogger().handlers[:] = [JsonHandler(lines)]
    return lines
