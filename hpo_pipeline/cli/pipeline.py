"""The commands `hpo pipeline` and `hpo schedule`: Kubeflow Pipelines, seen from a terminal.

Part of the command line: reads arguments, calls the client, prints what it gave. Schedules are in
schedule.py beside this file.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpo_pipeline.kubeflow.api import Kfp

PIPELINE = "hpo"


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to the parser of `hpo`."""
    pipeline = commands.add_parser("pipeline", help="upload and run the Kubeflow pipeline")
    actions = pipeline.add_subparsers(required=True, metavar="ACTION")

    upload = actions.add_parser("upload", help="upload the compiled pipeline if it has changed")
    upload.set_defaults(command=_upload)
    upload.add_argument("file", type=Path, nargs="?", help="compiled pipeline (the package's own)")
    upload.add_argument("--name", help="name of the pipeline in Kubeflow Pipelines (its own name)")
    upload.add_argument("--force", action="store_true", help="even if its parameters differ")
    add_connection(upload)

    run = actions.add_parser("run", help="run an experiment as a pipeline")
    run.set_defaults(command=_run)
    run.add_argument("file", type=Path, help="experiment file")
    run.add_argument(
        "--schedule",
        metavar="NAME",
        help="start it for a schedule: not while another run of that schedule is active",
    )
    add_parameters(run)
    add_connection(run)


def add_parameters(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what a pipeline runs, and with which parameters."""
    what = parser.add_argument_group("what to run")
    what.add_argument("--pipeline", default=PIPELINE, help=f"name of the pipeline ({PIPELINE})")
    what.add_argument("--group", help="KFP experiment that lists the runs (the experiment's name)")
    what.add_argument("--engine", help="katib or local (katib)")
    what.add_argument("--image", help="image of the pipeline's steps")
    what.add_argument("--trials", type=int, help="instead of the file's budget.trials")
    what.add_argument("--parallel", type=int, help="instead of the file's budget.parallel")
    what.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="any other parameter"
    )
    what.add_argument("--service-account", default="", help="of the runs (KFP's default)")


def add_connection(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which Kubeflow Pipelines is meant."""
    where = parser.add_argument_group("connection")
    where.add_argument("--endpoint", metavar="URL", help="of Kubeflow Pipelines ($KFP_ENDPOINT)")
    where.add_argument("--namespace", "-n", help="of a profile, in a multi-user Kubeflow")


def connect(options: argparse.Namespace) -> Kfp:
    """Return the Kubeflow Pipelines that the options name."""
    from hpo_pipeline.kubeflow.api import Kfp

    return Kfp(options.endpoint, namespace=options.namespace)


def budget(options: argparse.Namespace) -> dict[str, int]:
    """Return the entries of the section budget that the options replace."""
    given = {"trials": options.trials, "parallel": options.parallel}
    return {key: value for key, value in given.items() if value is not None}


def given_parameters(options: argparse.Namespace) -> dict[str, str]:
    """Return the pipeline parameters that the options set, as text."""
    from hpo_pipeline.kubeflow.parameters import split_settings

    given = {key: getattr(options, key) for key in ("engine", "image", "trials", "parallel")}
    values = {key: str(value) for key, value in given.items() if value is not None}
    return values | split_settings(options.set)


def _upload(options: argparse.Namespace) -> int:
    from hpo_pipeline.kubeflow.compiled import COMPILED, read_compiled
    from hpo_pipeline.kubeflow.upload import upload

    compiled = read_compiled(options.file or COMPILED)
    name = options.name or compiled.name
    uploaded = upload(connect(options), compiled, name, force=options.force)
    news = "uploaded" if uploaded.is_new else "unchanged"
    print(f"pipeline {name}: version {uploaded.version} {news}")
    return 0


def _run(options: argparse.Namespace) -> int:
    from hpo_pipeline.experiment.loading import load
    from hpo_pipeline.kubeflow.start import requested_name, start

    experiment = load(options.file, budget=budget(options))
    given = given_parameters(options)
    given["experiment"] = options.file.read_text("utf-8")
    started = start(
        connect(options),
        pipeline=options.pipeline,
        group=options.group or experiment.name,
        schedule=options.schedule,
        run_name=requested_name(options.schedule or experiment.name, now=datetime.now(UTC)),
        given=given,
        service_account=options.service_account,
    )
    print(started)
    return 0
