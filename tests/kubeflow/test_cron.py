"""Cron expressions: what is taken, what is refused and how, when the next time is."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from hpo_pipeline.errors import ScheduleError
from hpo_pipeline.kubeflow.schedule.cron import next_time, parse_cron, times
from hpo_pipeline.kubeflow.schedule.timezones import at_todays_offset, in_zone_of

BERLIN, INDIA, NEPAL = (
    ZoneInfo("Europe/Berlin"),
    ZoneInfo("Asia/Kolkata"),
    ZoneInfo("Asia/Kathmandu"),
)
ZULU = ZoneInfo("UTC")
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("0 3 * * *", "0 0 3 * * *"),
        ("0 0 3 * * *", "0 0 3 * * *"),
        ("*/15 9-17 * * mon-fri", "0 */15 9-17 * * mon-fri"),
        ("30 0 3 1,15 JAN ?", "30 0 3 1,15 JAN ?"),
    ],
)
def test_five_fields_are_sent_as_six(text, sent):
    assert parse_cron(text).six == sent


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0 3 * *", "must have five fields .* got 4"),
        ("0 0 3 * * * 2026", "got 7"),
        ("", "got 0"),
        ("0 24 * * *", "hour: must be a number from 0 to 23, got '24'"),
        ("60 3 * * *", "minute: must be a number from 0 to 59, got '60'"),
        ("0 3 0 * *", "day of the month: must be a number from 1 to 31, got '0'"),
        ("0 3 * 13 *", "month: must be a number from 1 to 12 or a name such as jan, got '13'"),
        ("0 3 * * 7", "weekday: 7 is not supported, Sunday is 0"),
        ("0 3 * * fri-mon", "weekday: a range must go up, fri-mon goes down"),
        ("0 3 * * ²", "weekday: must be a number"),
        ("*/0 3 * * *", "minute: must be a number from 1 to 59"),
        ("*/5 3 * * * *", "second: must be one number .*\nwith six fields the first is the second"),
        ("0 3 30 2 *", "never runs"),
        ("0 3 */2 * mon", "with '\\*/2' and 'mon' KFP needs both to match"),
        ("@daily", "@daily is not supported.* write five fields"),
        ("CRON_TZ=Europe/Berlin 0 3 * * *", "is not supported.* as --timezone"),
    ],
)
def test_faults_say_which_field(text, says):
    with pytest.raises(ScheduleError, match=f"(?s){says}"):
        parse_cron(text)


def test_all_faults_at_once():
    with pytest.raises(ScheduleError) as caught:
        parse_cron("61 25 * 13 *")
    assert str(caught.value).count("\n  - ") == 3


def starts(text: str, where: ZoneInfo, after: datetime, count: int) -> list[str]:
    found = islice(times(parse_cron(text), where, after), count)
    return [f"{moment:%m-%d %H:%M}" for moment in found]


def test_the_next_times_are_those_of_the_zone_across_the_change_of_the_clocks():
    after = datetime(2027, 3, 26, 12, tzinfo=UTC)
    assert starts("0 3 * * *", BERLIN, after, 3) == ["03-27 02:00", "03-28 01:00", "03-29 01:00"]
    # 02:30 does not exist on the day that the clocks go forward
    assert starts("30 2 * * *", BERLIN, after, 2) == ["03-27 01:30", "03-29 00:30"]


def test_a_day_of_the_month_and_a_weekday_are_either():
    assert starts("0 0 25 * sun", ZULU, NOW, 3) == ["11-25 00:00", "11-29 00:00", "12-06 00:00"]


def test_a_leap_day_comes():
    assert next_time(parse_cron("0 0 29 2 *"), ZULU, NOW) == datetime(2028, 2, 29, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "zone", "sent"),
    [
        ("0 3 * * *", ZULU, "0 0 3 * * *"),
        ("0 3 * * *", INDIA, "0 30 21 * * *"),
        ("15,45 * * * *", INDIA, "0 15,45 * * * *"),
        ("0 3 * * mon", INDIA, "0 30 21 * * 0"),  # Sunday evening in UTC
        ("0 12 1 * *", INDIA, "0 30 6 1 * *"),
        ("0 6,18 * * *", NEPAL, "0 15 0,12 * * *"),
    ],
)
def test_zones_that_differ_by_the_same_all_year_are_translated(text, zone, sent):
    cron = parse_cron(text)
    translated = in_zone_of(cron, zone, ZULU, now=NOW)
    assert translated.six == sent
    assert list(islice(times(cron, zone, NOW), 50)) == list(
        islice(times(translated, ZULU, NOW), 50)
    )


@pytest.mark.parametrize("text", ["0 3 1 * *", "0,45 3 * * *", "0 3,12 * * mon"])
def test_what_one_expression_cannot_say_is_refused(text):
    with pytest.raises(ScheduleError, match="no single expression says this in the cluster"):
        in_zone_of(parse_cron(text), INDIA, ZULU, now=NOW)


def test_a_zone_with_daylight_saving_time_needs_a_decision():
    cron = parse_cron("0 3 * * *")
    with pytest.raises(
        ScheduleError,
        match=r"(?s)Berlin and UTC changes during.*--manifest.*--fixed-offset",
    ):
        in_zone_of(cron, BERLIN, ZULU, now=NOW)
    assert at_todays_offset(cron, BERLIN, ZULU, now=NOW).six == "0 0 2 * * *"
    assert in_zone_of(cron, BERLIN, ZoneInfo("Europe/Paris"), now=NOW) == cron
