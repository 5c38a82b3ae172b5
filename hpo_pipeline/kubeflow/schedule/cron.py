"""Cron expressions as Kubeflow Pipelines reads them, and their times in a time zone.

KFP 2.17 parses with github.com/robfig/cron v1.2.0: six fields, seconds first, and the last may be
missing. So it silently misreads the usual five fields: `0 3 * * *` starts at minute 3 of every
hour. Its expressions have no time zone (no `TZ=`); the controller has one for all schedules.
Therefore every expression is checked here and sent with six fields.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from hpo_pipeline.errors import ScheduleError

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# name, lowest, highest, names from the lowest on
FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("second", 0, 59, ()),
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, MONTHS),
    ("weekday", 0, 6, WEEKDAYS),
)
FIVE = "minute hour day month weekday"
_HORIZON = timedelta(days=5 * 366)  # as far ahead as KFP's parser searches


@dataclass(frozen=True)
class Cron:
    """A valid expression: the texts of its six fields, and the numbers that each allows."""

    texts: tuple[str, ...]
    allowed: tuple[frozenset[int], ...]

    @property
    def six(self) -> str:
        """Return it as KFP expects it, seconds first."""
        return " ".join(self.texts)

    @property
    def five(self) -> str:
        """Return it as Kubernetes expects it.

        Raises:
            ScheduleError: it does not start at second 0.
        """
        if self.texts[0] != "0":
            raise ScheduleError(
                f"cron second: must be 0 for a CronJob of Kubernetes, got {self.texts[0]}"
            )
        return " ".join(self.texts[1:])


def parse_cron(text: str) -> Cron:
    """Read five fields (minute first) or six (second first).

    Raises:
        ScheduleError: with every fault, each with its field.
    """
    words = text.split()
    if text.strip().startswith(("@", "TZ=", "CRON_TZ=")):
        raise ScheduleError(
            f"cron: {words[0]} is not supported, got {text!r}; write five fields ({FIVE}), "
            "such as '0 3 * * *', and give the time zone as --timezone"
        )
    if len(words) not in (5, 6):
        raise ScheduleError(
            f"cron: must have five fields ({FIVE}) or six (second first), got "
            f"{len(words)}: {text!r}"
        )
    if len(words) == 5:
        words = ["0", *words]
    faults: list[str] = []
    allowed = []
    for (name, low, high, names), word in zip(FIELDS, words, strict=True):
        try:
            allowed.append(_numbers(word, low, high, names))
        except ValueError as error:
            faults.append(f"{name}: {error}, got {word!r}")
    if not faults and len(allowed[0]) != 1:
        # `*/5 3 * * * *` is a five-field expression with one star too many.
        faults.append(f"second: must be one number from 0 to 59, got {words[0]!r}")
    days, weekdays = words[3], words[5]
    for star, other in ((days, weekdays), (weekdays, days)):
        if not faults and _is_star(star) and "/" in star and other not in ("*", "?"):
            faults.append(
                f"day of the month and weekday: with {star!r} and {other!r} KFP needs both to "
                "match, Kubernetes either; write numbers instead of the step"
            )
    if faults:
        lines = "".join(f"\n  - {fault}" for fault in faults)
        hint = "" if len(text.split()) == 5 else "\nwith six fields the first is the second"
        raise ScheduleError(f"cron {text!r}:{lines}{hint}")
    cron = Cron(tuple(words), tuple(allowed))
    # KFP accepts such an expression, and its controller then searches for a time for ever.
    if next_time(cron, ZoneInfo("UTC"), datetime.now(UTC)) is None:
        raise ScheduleError(f"cron {text!r}: never runs, no month has such a day")
    return cron


def _numbers(word: str, low: int, high: int, names: tuple[str, ...]) -> frozenset[int]:
    found: set[int] = set()
    for part in word.split(","):
        span, slash, step_text = part.partition("/")
        step = _number(step_text, 1, high, ()) if slash else 1
        if span in ("*", "?"):
            first, last = low, high
        else:
            begin, hyphen, end = span.partition("-")
            first = _number(begin, low, high, names)
            last = _number(end, low, high, names) if hyphen else high if slash else first
        if first > last:
            raise ValueError(f"a range must go up, {span} goes down")
        found |= set(range(first, last + 1, step))
    return frozenset(found)


def _number(text: str, low: int, high: int, names: tuple[str, ...]) -> int:
    if text.lower() in names:
        return names.index(text.lower()) + low
    hint = f" or a name such as {names[0]}" if names else ""
    if names == WEEKDAYS and text == "7":
        raise ValueError("7 is not supported, Sunday is 0")
    if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
        raise ValueError(f"must be a number from {low} to {high}{hint}")
    return int(text)


def _is_star(word: str) -> bool:
    return "*" in word or "?" in word


def zone(name: str, option: str = "--timezone") -> ZoneInfo:
    """Return the time zone of a name such as Europe/Berlin."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ScheduleError(
            f"{option}: unknown time zone, got {name!r}; give a name of the IANA database, "
            "such as UTC or Europe/Berlin"
        ) from None


def next_time(cron: Cron, where: ZoneInfo, after: datetime) -> datetime | None:
    """Return the next time in UTC of an expression in a zone, or None if there is none."""
    return next(times(cron, where, after), None)


def times(cron: Cron, where: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """Yield the times in UTC after `after`, for five years."""
    second, minutes, hours = min(cron.allowed[0]), sorted(cron.allowed[1]), sorted(cron.allowed[2])
    day = after.astimezone(where).date()
    for offset in range(_HORIZON.days):
        today = day + timedelta(days=offset)
        if not _matches(cron, today):
            continue
        for hour in hours:
            for minute in minutes:
                local = datetime(
                    today.year, today.month, today.day, hour, minute, second, tzinfo=where
                )
                moment = local.astimezone(UTC)
                exists = moment.astimezone(where).replace(tzinfo=None) == local.replace(tzinfo=None)
                if exists and moment > after:
                    yield moment


def _matches(cron: Cron, day: date) -> bool:
    _, _, _, days, months, weekdays = cron.allowed
    if day.month not in months:
        return False
    by_day, by_weekday = day.day in days, day.isoweekday() % 7 in weekdays
    if _is_star(cron.texts[3]) or _is_star(cron.texts[5]):
        return by_day and by_weekday
    return by_day or by_weekday  # as in every cron, either suffices where both are given
