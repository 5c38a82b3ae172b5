"""Start one run of the pipeline: for a person, or for the CronJob of a schedule.

A start has a name, which a CronJob takes from its job: when the job is retried, the same start
finds the run that it made. A run of a schedule is not started while another one is active.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime

from hpo_pipeline.kubeflow.api import Kfp
from hpo_pipeline.kubeflow.parameters import parameter_values
from hpo_pipeline.kubeflow.schedule.runs import OVER, group_id, runs_of
from hpo_pipeline.kubeflow.upload import pipeline_to_run

START = "HPO_START"
DATA_VERSION = "data_version"


def requested_name(prefix: str, *, now: datetime, environ: Mapping[str, str] = os.environ) -> str:
    """Return the name of the run to start: from the job that asks for it, or from the time."""
    job = environ.get(START) or f"{now:%Y%m%d-%H%M%S}"
    return job if job.startswith(f"{prefix}-") else f"{prefix}-{job}"


def start(
    kfp: Kfp,
    *,
    pipeline: str,
    group: str,
    run_name: str,
    given: Mapping[str, str],
    schedule: str | None = None,
    service_account: str = "",
) -> str:
    """Start a run and return a sentence about it.

    Nothing is started where a run of this name exists, or where another run of `schedule` is
    active.

    Raises:
        ScheduleError: there is no such pipeline, or it does not take these parameters.
    """
    pipeline_id, takes = pipeline_to_run(kfp, pipeline)
    if DATA_VERSION in takes:
        given = {DATA_VERSION: run_name, **given}  # each run reads its data again
    group_of_runs = group_id(kfp, group)
    for run in runs_of(kfp, group_of_runs):
        name = str(run.get("display_name", ""))
        if name == run_name:
            return f"{run_name}: already started"
        is_of_schedule = schedule is not None and name.startswith(f"{schedule}-")
        if is_of_schedule and run.get("state") not in OVER:
            return f"{run_name}: not started, {name} is still running"
    body = {
        "display_name": run_name,
        "experiment_id": group_of_runs,
        "pipeline_version_reference": {"pipeline_id": pipeline_id},
        "runtime_config": {"parameters": parameter_values(given, takes, pipeline)},
        "service_account": service_account,
    }
    kfp.post("/runs", {key: value for key, value in body.items() if value})
    return f"{run_name}: started"
