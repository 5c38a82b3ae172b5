"""Showing a run, as it happens, to the trackers that its experiment names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from hpo_pipeline.engines import RunContext
from hpo_pipeline.errors import ExperimentError, RunFolderError
from hpo_pipeline.results.run_folder import RunFolder
from hpo_pipeline.trackers import faults
from hpo_pipeline.trackers.queue import Queue
from hpo_pipeline.trackers.sender_process import PATIENCE_SECONDS, SenderProcess
from hpo_pipeline.trackers.tracked_progress import TrackedProgress

HURRY_SECONDS = 3.0
"""How long a run that is cut off waits for its trackers."""
OF_PIPELINE = ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID")
"""What Kubeflow Pipelines sets in its steps where an administrator has configured MLflow."""


def check_trackers(context: RunContext, environ: Mapping[str, str] = os.environ) -> None:
    """Find before a run what would keep its trackers from working.

    Raises:
        ExperimentError: with all faults.
    """
    wrong = faults(context.experiment.track, environ)
    if wrong:
        raise ExperimentError(str(context.source or context.experiment.name), wrong)


def trackers_in_pipeline(context: RunContext, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the trackers of a step: those of the experiment, and the MLflow of the pipeline."""
    names = context.experiment.track
    if "mlflow" in names or not all(environ.get(name) for name in OF_PIPELINE):
        return names
    wrong = faults(("mlflow",), environ)
    for line in wrong:
        context.progress.say(f"the pipeline has an MLflow server, but {line}")
    return names if wrong else (*names, "mlflow")


@contextmanager
def tracked(context: RunContext, names: Sequence[str]) -> Iterator[RunContext]:
    """Track a run during the block, whose folder is locked and the experiment's."""
    if not names:
        yield context
        return
    folder = context.folder
    folder.run_id()
    progress = TrackedProgress(context.progress, Queue(folder.tracking))
    progress.note_run(replace(folder.state(), state="running", reason=None))
    senders = [SenderProcess(folder.path, folder.tracking, n, context.progress.say) for n in names]
    patience = HURRY_SECONDS
    try:
        yield replace(context, progress=progress)
        patience = PATIENCE_SECONDS
    finally:
        note_all(progress, folder)
        for sender in senders:
            sender.close(patience=patience)


def note_all(progress: TrackedProgress, folder: RunFolder) -> None:
    """Queue what the folder of a run has, as far as it was not queued before."""
    try:
        progress.note(folder.finished_trials())
        progress.note(folder.confirmation.finished_trials(), are_replicates=True)
        progress.note_run(folder.state())
    except (RunFolderError, OSError) as error:
        progress.say(f"the end of the run cannot be sent to the trackers: {error}")
