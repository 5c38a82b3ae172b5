"""Translate a schedule to the one time zone that an installation of KFP has for all schedules.

That zone is CRON_SCHEDULE_TIMEZONE of its ml-pipeline-scheduledworkflow (key cronScheduleTimezone
of the ConfigMap pipeline-install-config), UTC by default; the API does not show it. Where two zones
always differ by the same offset, an expression is translated; where one of them has daylight saving
time, no expression is right all year, and the error says so.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hpo_pipeline.errors import ScheduleError
from hpo_pipeline.kubeflow.schedule.cron import Cron, parse_cron

_YEARS = 3


def in_zone_of(cron: Cron, meant: ZoneInfo, cluster: ZoneInfo, *, now: datetime) -> Cron:
    """Translate an expression from its own zone to the cluster's.

    Raises:
        ScheduleError: no expression means the same all year.
    """
    differences = _differences(meant, cluster, now)
    if len(differences) > 1:
        raise ScheduleError(
            f"--timezone: the offset between {meant.key} and {cluster.key} changes during the "
            f"year, and Kubeflow Pipelines has one time zone for all schedules (assumed: "
            f"{cluster.key}). Choose one of these:\n"
            f"  - set cronScheduleTimezone: {meant.key} in its ConfigMap pipeline-install-config, "
            "restart ml-pipeline-scheduledworkflow,\n"
            f"    and add --cluster-timezone {meant.key} (or KFP_CRON_TIMEZONE)\n"
            "  - add --manifest: print a CronJob of Kubernetes, which has its own time zone\n"
            "  - add --fixed-offset: keep today's offset all year, an hour off after the clocks "
            "change"
        )
    return shifted(cron, -differences.pop())


def at_todays_offset(cron: Cron, meant: ZoneInfo, cluster: ZoneInfo, *, now: datetime) -> Cron:
    """Translate an expression by the offset between the zones as it is now."""
    return shifted(cron, -_difference(meant, cluster, now))


def _differences(meant: ZoneInfo, cluster: ZoneInfo, now: datetime) -> set[timedelta]:
    days = range(_YEARS * 366)
    return {_difference(meant, cluster, now + timedelta(days=day)) for day in days}


def _difference(meant: ZoneInfo, cluster: ZoneInfo, moment: datetime) -> timedelta:
    moment = moment.astimezone(UTC)
    own, theirs = moment.astimezone(meant).utcoffset(), moment.astimezone(cluster).utcoffset()
    return (own or timedelta()) - (theirs or timedelta())


def shifted(cron: Cron, by: timedelta) -> Cron:
    """Return the expression whose times are later by `by`.

    Raises:
        ScheduleError: no single expression says that.
    """
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
            f"cron {cron.six!r}: no single expression says this in the cluster's time zone, where "
            f"its times are {_signed(by)} away and on other days; use --manifest, or give times "
            "in the cluster's zone and leave out --timezone"
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
