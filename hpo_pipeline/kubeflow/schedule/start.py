"""`python -m pipelines.start FILE`: start one run of the pipeline, as a manifest's CronJob does.

A start has a name (of the job that does it): the same start again, after a crash or at a retry,
finds its run. While a run of the same schedule is going on, no other is started.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from hpo_pipeline.errors import HpoError
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.kubeflow.api import Kfp
from hpo_pipeline.kubeflow.parameters import parameter_values, split_settings
from hpo_pipeline.kubeflow.schedule.runs import OVER, group_id, runs_of
from hpo_pipeline.kubeflow.upload import add_connection, connect, pipeline_to_run

START = "HPO_START"


def start(
    kfp: Kfp,
    *,
    pipeline: str,
    group: str,
    schedule: str,
    run_name: str,
    given: dict[str, str],
    service_account: str = "",
) -> str:
    """Start a run unless it is there already or another of its schedule goes on; say what is so."""
    pipeline_id, takes = pipeline_to_run(kfp, pipeline)
    if "data_version" in takes:
        given = {"data_version": run_name, **given}  # each run reads its data anew
    group_of_runs = group_id(kfp, group)
    prefix = f"{schedule}-"
    for run in runs_of(kfp, group_of_runs):
        name = str(run.get("display_name", ""))
        if name == run_name:
            return f"{run_name}: was started already"
        if name.startswith(prefix) and run.get("state") not in OVER:
            return f"{run_name}: not started, {name} is still going on"
    body = {
        "display_name": run_name,
        "experiment_id": group_of_runs,
        "pipeline_version_reference": {"pipeline_id": pipeline_id},
        "runtime_config": {"parameters": parameter_values(given, takes, pipeline)},
        "service_account": service_account,
    }
    kfp.post("/runs", {key: value for key, value in body.items() if value})
    return f"{run_name}: started"


def main(argv: Sequence[str] | None = None) -> int:
    """Start a run; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.start", description=__doc__)
    parser.add_argument("file", type=Path, help="experiment file")
    parser.add_argument("--name", help="of the schedule (retrain-NAME of the experiment)")
    parser.add_argument("--pipeline", default="hpo", help="that runs (hpo)")
    parser.add_argument("--group", help="KFP experiment of the run (the experiment's name)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--service-account", default="", help="of the run (KFP's default)")
    add_connection(parser)
    options = parser.parse_args(argv)
    try:
        experiment = load(options.file)
        schedule = options.name or f"retrain-{experiment.name}"
        given = split_settings(options.set)
        given["experiment"] = options.file.read_text("utf-8")
        job = os.environ.get(START) or f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
        print(
            start(
                connect(options),
                pipeline=options.pipeline,
                group=options.group or experiment.name,
                schedule=schedule,
                run_name=job if job.startswith(f"{schedule}-") else f"{schedule}-{job}",
                given=given,
                service_account=options.service_account,
            )
        )
    except HpoError as error:
        print(f"start: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
