"""`python -m pipelines.schedule FILE --cron …`: an experiment is run again and again by KFP.

It checks everything that needs no network first, says when the next start is, and hands over to
recurring.py, or to manifest.py for a CronJob.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from hpo_pipeline.errors import HpoError, ScheduleError
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.kubeflow.api import Kfp
from hpo_pipeline.kubeflow.compiled import COMPILED, Parameter, read_compiled
from hpo_pipeline.kubeflow.parameters import parameter_values, split_settings
from hpo_pipeline.kubeflow.schedule import recurring
from hpo_pipeline.kubeflow.schedule.cron import Cron, next_time, parse_cron, zone
from hpo_pipeline.kubeflow.schedule.state import ours
from hpo_pipeline.kubeflow.schedule.timezones import at_todays_offset, in_zone_of
from hpo_pipeline.kubeflow.upload import add_connection, connect, pipeline_to_run

CLUSTER_ZONE = "KFP_CRON_TIMEZONE"
DATA_VERSION = "data_version"
SCHEDULED_TIME = "[[ScheduledTime]]"
"""Kubeflow Pipelines puts the time of the start there, so that each run reads its data anew."""
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?")  # a CronJob's: its jobs add 11 more


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit code."""
    options = _parser().parse_args(argv)
    try:
        return _run(options)
    except HpoError as error:
        print(f"schedule: {error}", file=sys.stderr)
        return error.exit_code


def _run(options: argparse.Namespace) -> int:
    if options.list:
        return _list(connect(options))
    for action in ("pause", "resume", "remove"):
        if name := getattr(options, action):
            return _change(connect(options), action, name)
    if options.file is None or not options.cron:
        raise ScheduleError("give an experiment file and --cron, or --list, --pause, --remove NAME")
    now = datetime.now(UTC)
    meant, cron = zone(options.timezone), parse_cron(options.cron)
    experiment = load(options.file, budget=_budget(options))
    name = options.name or f"retrain-{experiment.name}"
    if not _NAME.fullmatch(name):
        raise ScheduleError(
            f"--name: must be at most 52 of a-z, 0-9 and -, got {name!r}; give --name"
        )
    if options.manifest:
        return _print_manifest(options, experiment, name, cron)
    cluster = zone(
        options.cluster_timezone or os.environ.get(CLUSTER_ZONE) or "UTC", "--cluster-timezone"
    )
    translate = at_todays_offset if options.fixed_offset else in_zone_of
    sent = translate(cron, meant, cluster, now=now)
    kfp = connect(options)
    pipeline_id, takes = pipeline_to_run(kfp, options.pipeline)
    schedule = recurring.Schedule(
        name=name,
        pipeline_id=pipeline_id,
        group=options.group or experiment.name,
        cron=sent,
        meaning=f"{options.cron} {meant.key}",
        parameters=_parameters(options, takes),
        service_account=options.service_account or "",
    )
    applied = recurring.apply(kfp, schedule)
    _tell(schedule, applied, meant, cluster, now)
    return 0


def _tell(
    schedule: recurring.Schedule,
    applied: recurring.Applied,
    meant: ZoneInfo,
    cluster: ZoneInfo,
    now: datetime,
) -> None:
    start = next_time(schedule.cron, cluster, now)
    assert start is not None  # parse_cron refuses what never comes
    print(f"{schedule.name}: {applied.change.value}")
    when = "next start"
    if applied.is_paused:
        when = f"paused until --resume {schedule.name}; next start would be"
    print(
        f"{when} {start.astimezone(meant):%Y-%m-%d %H:%M} {meant.key} ({start:%H:%M} UTC), if "
        f"the time zone of this Kubeflow Pipelines is {cluster.key}"
    )
    if schedule.meaning != f"{schedule.cron.six} {cluster.key}":
        print(f"Kubeflow Pipelines has it as: {schedule.cron.six} (second first), {cluster.key}")
    for run in applied.going_on:
        print(f"still going on, the next start does not wait for it: {run}")


def _list(kfp: Kfp) -> int:
    runs = ours(kfp)
    width = max((len(run.name) for run in runs), default=0)
    for run in sorted(runs, key=lambda run: (run.name, run.created_at)):
        state = "active" if run.is_on else "paused" if run.is_paused else "switched off"
        print(f"{run.name:{width}}  {state:12}  {run.meaning}")
    if not runs:
        print(f"no schedules on {kfp.endpoint}")
    return 0


def _change(kfp: Kfp, action: str, name: str) -> int:
    if action == "remove":
        recurring.remove(kfp, name)
        print(f"{name}: removed; a run of it that is going on goes on")
    else:
        recurring.pause(kfp, name, paused=action == "pause")
        print(f"{name}: {'paused' if action == 'pause' else 'active again'}")
    return 0


def _budget(options: argparse.Namespace) -> dict[str, int]:
    given = {"trials": options.trials, "parallel": options.parallel}
    return {key: value for key, value in given.items() if value is not None}


def _given(options: argparse.Namespace) -> dict[str, str]:
    """Return the parameters that the command line sets, as text."""
    given = {key: getattr(options, key) for key in ("engine", "image", "trials", "parallel")}
    values = {key: str(value) for key, value in given.items() if value is not None}
    return values | split_settings(options.set)


def _parameters(options: argparse.Namespace, takes: Mapping[str, Parameter]) -> dict[str, object]:
    given = {**_given(options), "experiment": options.file.read_text("utf-8")}
    if DATA_VERSION in takes:
        given.setdefault(DATA_VERSION, SCHEDULED_TIME)
    return parameter_values(given, takes, options.pipeline)


def _print_manifest(
    options: argparse.Namespace, experiment: Experiment, name: str, cron: Cron
) -> int:
    from hpo_pipeline.kubeflow.schedule.cronjob import Starter, render

    takes = read_compiled(COMPILED).parameters if COMPILED.exists() else None
    if takes is not None:
        _parameters(options, takes)
    starter = Starter(
        name=name,
        namespace=options.namespace or experiment.cluster.namespace,
        cron=cron,
        timezone=zone(options.timezone).key,
        image=options.starter_image,
        pipeline=options.pipeline,
        group=options.group or experiment.name,
        experiment=options.file.read_text("utf-8"),
        parameters=_given(options),
        endpoint=options.endpoint or "http://ml-pipeline.kubeflow:8888",
        service_account=options.service_account or "",
    )
    print(render(starter), end="")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.schedule",
        description="Have Kubeflow Pipelines run an experiment again and again.",
    )
    parser.add_argument("file", type=Path, nargs="?", help="experiment file")
    when = parser.add_argument_group("when")
    when.add_argument(
        "--cron", help="minute hour day month weekday, or six fields with the second first"
    )
    when.add_argument("--timezone", default="UTC", help="of the fields: Europe/Berlin (UTC)")
    when.add_argument(
        "--cluster-timezone", help=f"CRON_SCHEDULE_TIMEZONE of KFP (${CLUSTER_ZONE}, UTC)"
    )
    when.add_argument(
        "--fixed-offset", action="store_true", help="an hour off after the clocks change"
    )
    what = parser.add_argument_group("what")
    what.add_argument("--name", help="of the schedule (retrain-NAME of the experiment)")
    what.add_argument("--pipeline", default="hpo", help="that runs, in its latest version (hpo)")
    what.add_argument("--group", help="KFP experiment of the runs (the experiment's name)")
    what.add_argument("--engine", help="katib or local")
    what.add_argument("--image", help="of the pipeline's steps")
    what.add_argument("--trials", type=int, help="instead of the file's budget.trials")
    what.add_argument("--parallel", type=int, help="instead of the file's budget.parallel")
    what.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="any other parameter"
    )
    what.add_argument("--service-account", help="of the runs (KFP's default)")
    parser.add_argument("--manifest", action="store_true", help="print a CronJob for kubectl apply")
    parser.add_argument(
        "--starter-image", default="hpo-pipeline:dev", help="of the CronJob (hpo-pipeline:dev)"
    )
    actions = parser.add_argument_group("schedules that are there")
    actions.add_argument("--list", action="store_true", help="show them")
    for action, text in (
        ("pause", "until --resume, even if applied again"),
        ("resume", "a paused one"),
        ("remove", "its running run goes on"),
    ):
        actions.add_argument(f"--{action}", metavar="NAME", help=text)
    add_connection(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
