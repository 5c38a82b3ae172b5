"""Starts of our schedules that brought no run: what the exporter shows as missed.

A start is missed where no run was created from it on, some minutes later. While a run of the
schedule is still active there is none to miss: at most one runs at a time, and Kubeflow Pipelines
makes up for the latest start when it has ended. Nor is one where the schedule is off.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

from hpo_pipeline.errors import ScheduleError
from hpo_pipeline.kubeflow.api import Kfp
from hpo_pipeline.kubeflow.schedule.cron import parse_cron, times
from hpo_pipeline.kubeflow.schedule.runs import OVER, Json, runs_of
from hpo_pipeline.kubeflow.schedule.state import ScheduleState, ours

GRACE = timedelta(minutes=10)
"""After which a start that brought no run is missed: the controller looks each minute."""
SKEW = timedelta(minutes=1)
"""By how much the time of a run may be before the start that brought it."""
MOST_RUNS = 1_000
MOST_MISSED = 1_000


@dataclass(frozen=True)
class Overdue:
    """A schedule, and how many of its starts since its last run brought none.

    Attributes:
        missed: None where that is not known: its times cannot be read.
        last_run: when its last run was created.
    """

    name: str
    is_on: bool
    missed: int | None
    last_run: datetime | None


def overdue(kfp: Kfp, where: ZoneInfo) -> list[Overdue]:
    """Return our schedules; `where` is the time zone of this Kubeflow Pipelines.

    Raises:
        PipelineError: they cannot be read.
    """
    schedules = ours(kfp)
    last = _last_runs(kfp, schedules)
    return [_overdue(schedule, last.get(schedule.id), kfp.now, where) for schedule in schedules]


def _last_runs(kfp: Kfp, schedules: Sequence[ScheduleState]) -> dict[str, Json]:
    """Return the last run of each schedule that has any, by the id of the schedule."""
    groups: dict[str, set[str]] = {}
    for schedule in schedules:
        groups.setdefault(str(schedule.body.get("experiment_id", "")), set()).add(schedule.id)
    found: dict[str, Json] = {}
    for group, ids in groups.items():
        for run in islice(runs_of(kfp, group), MOST_RUNS):  # the latest first
            known = str(run.get("recurring_run_id"))
            if known in ids:
                found.setdefault(known, run)
            if ids <= found.keys():
                break
    return found


def _overdue(schedule: ScheduleState, run: Json | None, now: datetime, where: ZoneInfo) -> Overdue:
    last = _time(run.get("created_at")) if run else None
    begun = max(filter(None, (last, _time(schedule.created_at))), default=None)
    is_active = run is not None and run.get("state") not in OVER
    missed: int | None = None
    with contextlib.suppress(ScheduleError):
        cron = parse_cron(str((schedule.body["trigger"]["cron_schedule"])["cron"]))
        if not schedule.is_on or is_active:
            missed = 0
        elif begun is not None:
            starts = times(cron, where, begun + SKEW)
            due = takewhile(lambda start: start < now - GRACE, starts)
            missed = sum(1 for _ in islice(due, MOST_MISSED))
    return Overdue(schedule.name, schedule.is_on, missed, last)


def _time(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None
