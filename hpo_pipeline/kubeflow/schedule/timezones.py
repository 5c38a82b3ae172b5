"""A schedule's time zone, for an installation of KFP that has one zone for all schedules.

The zone of an installation is CRON_SCHEDULE_TIMEZONE of its ml-pipeline-scheduledworkflow (key
cronScheduleTimezone of the ConfigMap pipeline-install-config), UTC by default; its API does not
tell it. Where two zones always differ by the same, an expression is translated; where one of them
has daylight saving time, no expression is right all year, and that is said.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hpo_pipeline.errors import ScheduleError
from hpo_pipeline.kubeflow.schedule.cron import Cron, parse_cron

_YEARS = 3


def in_zone_of(cron: Cron, meant: ZoneInfo, cluster: ZoneInfo, *, now: datetime) -> Cron:
    """Return the expression that means in the cluster's zone what `cron` means in its own.

    Raises:
        ScheduleError: there is none.
    """
    differences = _differences(meant, cluster, now)
    if len(differences) > 1:
        raise ScheduleError(
            f"--timezone: {meant.key} moves against {cluster.key} in the course of the year, and "
            f"Kubeflow Pipelines keeps one time zone for all schedules (taken to be {cluster.key})."
            " One of these helps:\n"
            f"  - set cronScheduleTimezone: {meant.key} in its ConfigMap pipeline-install-config, "
            "restart ml-pipeline-scheduledworkflow,\n"
            f"    and add --cluster-timezone {meant.key} (or KFP_CRON_TIMEZONE)\n"
            "  - add --manifest: a CronJob of Kubernetes, which has a time zone of its own\n"
            "  - add --fixed-offset: today's difference the whole year round, an hour off after "
            "the clocks change"
        )
    return shifted(cron, -differences.pop())


def at_todays_offset(cron: Cron, meant: ZoneInfo, cluster: ZoneInfo, *, now: datetime) -> Cron:
    """Return the expression translated by the difference of the zones that holds now."""
    return shifted(cron, -_difference(meant, cluster, now))


def _differences(meant: ZoneInfo, cluster: ZoneInfo, now: datetime) -> set[timedelta]:
    days = range(_YEARS * 366)
    return {_difference(meant, cluster, now + timedelta(days=day)) for day in days}


def _difference(meant: ZoneInfo, cluster: ZoneInfo, moment: datetime) -> timedelta:
    moment = moment.astimezone(UTC)
    own, theirs = moment.astimezone(meant).utcoffset(), moment.astimezone(cluster).utcoffset()
    return (own or timedelta()) - (theirs or timedelta())


def shifted(cron: Cron, by: timedelta) -> Cron:
    """Return the expression whose times come later by `by`; refuse what no expression can say."""
    minutes_by = round(by / timedelta(minutes=1))
    if minutes_by == 0:
        return cron
    _, minutes, hours, _, _, weekdays = cron.allowed
    moved: dict[int, set[tuple[int, int]]] = {}
    for hour in hours:
        for minute in minutes:
            day, rest = divmod(hour * 60 + minute + minutes_by, 24 * 60)
            moved.setdefault(day, set()).add(divmod(rest, 60))
    pairs = set().union(*moved.values())
    new_hours, new_minutes = {h for h, _ in pairs}, {m for _, m in pairs}
    every_day = all(text in ("*", "?") for text in cron.texts[3:])
    is_same_day = set(moved) == {0}
    is_weekly = len(moved) == 1 and all(text in ("*", "?") for text in cron.texts[3:5])
    product = len(pairs) == len(new_hours) * len(new_minutes)
    if not product or not (every_day or is_same_day or is_weekly):
        raise ScheduleError(
            f"cron {cron.six!r}: cannot be said in the cluster's time zone with one expression, "
            f"its times there are {_signed(by)} and on other days; use --manifest, or give the "
            "times in the cluster's zone and leave --timezone"
        )
    weekday = cron.texts[5]
    if not every_day and not is_same_day:
        (day,) = moved
        weekday = _listed({(number + day) % 7 for number in weekdays}, 0, 6)
    texts = (cron.texts[0], _listed(new_minutes, 0, 59), _listed(new_hours, 0, 23))
    return parse_cron(" ".join((*texts, *cron.texts[3:5], weekday)))


def _listed(numbers: set[int], low: int, high: int) -> str:
    is_all = len(numbers) == high - low + 1
    return "*" if is_all else ",".join(str(number) for number in sorted(numbers))


def _signed(by: timedelta) -> str:
    hours = by / timedelta(hours=1)
    return f"{hours:+g} h"
