"""The command `hpo schedule`: an experiment that Kubeflow Pipelines runs again and again.

Everything that needs no network is checked first. What a schedule is in Kubeflow Pipelines is in
kubeflow/schedule/recurring.py, the CronJob that may stand in for one in cronjob.py.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from hpo_pipeline.cli.pipeline import (
    add_connection,
    add_parameters,
    budget,
    connect,
    given_parameters,
)
from hpo_pipeline.errors import ScheduleError

if TYPE_CHECKING:
    from hpo_pipeline.experiment.schema import Experiment
    from hpo_pipeline.kubeflow.compiled import Parameter
    from hpo_pipeline.kubeflow.schedule.cron import Cron
    from hpo_pipeline.kubeflow.schedule.recurring import Applied, Schedule

CLUSTER_ZONE = "KFP_CRON_TIMEZONE"
STARTER_IMAGE = "hpo-pipeline:dev"
EACH_RUN = "[[CurrentTime]]-[[RunUUID]]"
"""Kubeflow Pipelines replaces both when it starts a run, so each run reads its data again.

It never replaces [[ScheduledTime]] in recurring runs of v2: the controller creates the run through
the API, and the time is set after the parameters are formatted (resource_manager.go in 2.17).
"""
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?")  # a CronJob's: its jobs add 11 more


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `hpo`."""
    schedule = commands.add_parser("schedule", help="run an experiment again and again on Kubeflow")
    actions = schedule.add_subparsers(required=True, metavar="ACTION")
    _add_set(actions.add_parser("set", help="create a schedule, or change it"))
    listed = actions.add_parser("list", help="show the schedules")
    listed.set_defaults(command=_list)
    add_connection(listed)
    for action, text in (
        ("pause", "start no more runs until it is resumed, even if it is set again"),
        ("resume", "resume a paused schedule"),
        ("remove", "remove a schedule; its active run continues"),
    ):
        parser = actions.add_parser(action, help=text)
        parser.set_defaults(command=_change, action=action)
        parser.add_argument("name", help="name of the schedule")
        add_connection(parser)


def _add_set(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_set)
    parser.add_argument("file", type=Path, help="experiment file")
    when = parser.add_argument_group("when to run")
    when.add_argument(
        "--cron",
        required=True,
        help="minute hour day month weekday, or six fields with the second first",
    )
    when.add_argument("--timezone", default="UTC", help="of --cron, such as Europe/Berlin (UTC)")
    when.add_argument(
        "--cluster-timezone",
        help=f"CRON_SCHEDULE_TIMEZONE of Kubeflow Pipelines (${CLUSTER_ZONE}, UTC)",
    )
    when.add_argument(
        "--fixed-offset",
        action="store_true",
        help="keep today's offset all year: an hour off after the clocks change",
    )
    parser.add_argument("--name", help="name of the schedule (retrain-NAME of the experiment)")
    parser.add_argument(
        "--manifest", action="store_true", help="print a CronJob for kubectl apply instead"
    )
    parser.add_argument(
        "--starter-image", default=STARTER_IMAGE, help=f"image of the CronJob ({STARTER_IMAGE})"
    )
    add_parameters(parser)
    add_connection(parser)


def _set(options: argparse.Namespace) -> int:
    from hpo_pipeline.experiment.loading import load
    from hpo_pipeline.kubeflow.schedule import recurring
    from hpo_pipeline.kubeflow.schedule.cron import parse_cron, zone
    from hpo_pipeline.kubeflow.schedule.timezones import at_todays_offset, in_zone_of
    from hpo_pipeline.kubeflow.upload import pipeline_to_run

    now = datetime.now(UTC)
    meant, cron = zone(options.timezone), parse_cron(options.cron)
    experiment = load(options.file, budget=budget(options))
    name = options.name or f"retrain-{experiment.name}"
    if not _NAME.fullmatch(name):
        raise ScheduleError(f"--name: must be at most 52 of a-z, 0-9 and -, got {name!r}")
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
        service_account=options.service_account,
    )
    applied = recurring.apply(kfp, schedule)
    _print_applied(schedule, applied, meant, cluster, now)
    return 0


def _print_applied(
    schedule: Schedule, applied: Applied, meant: ZoneInfo, cluster: ZoneInfo, now: datetime
) -> None:
    from hpo_pipeline.kubeflow.schedule.cron import next_time

    start = next_time(schedule.cron, cluster, now)
    assert start is not None  # parse_cron refuses what never comes
    print(f"{schedule.name}: {applied.change.value}")
    when = "next start"
    if applied.is_paused:
        when = f"paused until `hpo schedule resume {schedule.name}`; next start would be"
    print(
        f"{when} {start.astimezone(meant):%Y-%m-%d %H:%M} {meant.key} ({start:%H:%M} UTC), if "
        f"the time zone of this Kubeflow Pipelines is {cluster.key}"
    )
    if schedule.meaning != f"{schedule.cron.six} {cluster.key}":
        print(f"Kubeflow Pipelines stores: {schedule.cron.six} (second first), {cluster.key}")
    for run in applied.active:
        print(f"still running, and the next start does not wait for it: {run}")


def _list(options: argparse.Namespace) -> int:
    from hpo_pipeline.kubeflow.schedule.state import ours

    kfp = connect(options)
    schedules = ours(kfp)
    width = max((len(schedule.name) for schedule in schedules), default=0)
    for schedule in sorted(schedules, key=lambda found: (found.name, found.created_at)):
        state = "paused" if schedule.is_paused else "switched off"
        state = "active" if schedule.is_on else state
        print(f"{schedule.name:{width}}  {state:12}  {schedule.meaning}")
    if not schedules:
        print(f"no schedules on {kfp.endpoint}")
    return 0


def _change(options: argparse.Namespace) -> int:
    from hpo_pipeline.kubeflow.schedule import recurring

    kfp, name = connect(options), options.name
    if options.action == "remove":
        recurring.remove(kfp, name)
        print(f"{name}: removed; a run of it that is active continues")
    else:
        recurring.pause(kfp, name, paused=options.action == "pause")
        print(f"{name}: {'paused' if options.action == 'pause' else 'active again'}")
    return 0


def _parameters(options: argparse.Namespace, takes: Mapping[str, Parameter]) -> dict[str, object]:
    from hpo_pipeline.kubeflow.parameters import parameter_values
    from hpo_pipeline.kubeflow.start import DATA_VERSION

    given = {**given_parameters(options), "experiment": options.file.read_text("utf-8")}
    if DATA_VERSION in takes:
        given.setdefault(DATA_VERSION, EACH_RUN)
    return parameter_values(given, takes, options.pipeline)


def _print_manifest(
    options: argparse.Namespace, experiment: Experiment, name: str, cron: Cron
) -> int:
    from hpo_pipeline.kubeflow.compiled import COMPILED, read_compiled
    from hpo_pipeline.kubeflow.schedule.cron import zone
    from hpo_pipeline.kubeflow.schedule.cronjob import IN_CLUSTER, Starter, render

    if COMPILED.exists():  # to check the parameters
        _parameters(options, read_compiled(COMPILED).parameters)
    starter = Starter(
        name=name,
        namespace=options.namespace or experiment.cluster.namespace,
        cron=cron,
        timezone=zone(options.timezone).key,
        image=options.starter_image,
        pipeline=options.pipeline,
        group=options.group or experiment.name,
        experiment=options.file.read_text("utf-8"),
        parameters=given_parameters(options),
        endpoint=options.endpoint or IN_CLUSTER,
        service_account=options.service_account,
    )
    print(render(starter), end="")
    return 0
