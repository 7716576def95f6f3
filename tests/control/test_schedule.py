"""When cron lines fire, through the nights in which clocks change. Berlin leaps 02:00 → 03:00 on 2026-03-29 and falls
back 03:00 → 02:00 on 2026-10-25; both at 01:00 UTC."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.flows import schedule

BERLIN = "Europe/Berlin"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def fires(cron: str, after: str, count: int = 3, zone: str = BERLIN) -> list[str]:
    return [f"{fire:%m-%d %H:%M}" for fire in schedule.following(cron, zone, utc(after), count)]


def test_a_working_day_s_nine_o_clock_is_another_hour_in_utc_after_the_clocks_changed() -> None:
    assert fires("0 9 * * 1-5", "2026-03-26T12:00") == ["03-27 08:00", "03-30 07:00", "03-31 07:00"]


def test_a_time_that_spring_skips_comes_right_after_the_gap_and_once() -> None:
    assert fires("30 2 * * *", "2026-03-27T12:00") == ["03-28 01:30", "03-29 01:00", "03-30 00:30"]
    assert fires("30 2 * * *", "2026-03-29T01:00", 1) == ["03-30 00:30"]


@pytest.mark.parametrize("after", ["2026-10-25T00:29", "2026-10-25T00:30", "2026-10-25T01:15", "2026-10-25T01:30"])
def test_a_time_that_autumn_repeats_comes_once_wherever_one_looks_from(after: str) -> None:
    first = ["10-25 00:30"] if after < "2026-10-25T00:30" else []
    assert fires("30 2 * * *", after, 2) == [*first, "10-26 01:30", "10-27 01:30"][:2]


def test_what_runs_each_half_hour_follows_the_time_that_passes() -> None:
    autumn = ["10-25 00:30", "10-25 01:00", "10-25 01:30", "10-25 02:00"]
    assert fires("*/30 * * * *", "2026-10-25T00:00", 4) == autumn
    assert fires("0 * * * *", "2026-03-29T00:30", 2) == ["03-29 01:00", "03-29 02:00"]


def test_half_hours_of_a_zone_count() -> None:
    assert fires("0 9 * * *", "2026-01-01T00:00", 1, "Asia/Kolkata") == ["01-01 03:30"]


def test_fire_times_are_after_the_moment_they_are_asked_for() -> None:
    at = utc("2026-07-01T07:00")
    [first] = schedule.following("0 9 * * *", BERLIN, at - timedelta(microseconds=1))
    [after] = schedule.following("0 9 * * *", BERLIN, at)
    assert (first, after) == (at, at + timedelta(days=1))


MINUTES = st.one_of(st.integers(0, 59).map(str), st.integers(1, 30).map("*/{}".format), st.just("*"))
HOURS = st.one_of(st.integers(0, 23).map(str), st.integers(1, 12).map("*/{}".format), st.just("*"))
ZONES = st.sampled_from(["UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Casablanca"])
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))


@given(minute=MINUTES, hour=HOURS, zone=ZONES, after=MOMENTS)
def test_fire_times_go_on_wherever_clocks_change_and_no_one_is_lost(
    minute: str, hour: str, zone: str, after: datetime
) -> None:
    cron = f"{minute} {hour} * * *"
    found = schedule.following(cron, zone, after, 5)
    assert [*found] == sorted(set(found)) and after < found[0]
    assert found[-1] - after <= timedelta(days=6)
    for earlier, later in pairwise(found):
        assert schedule.following(cron, zone, earlier) == [later]


@pytest.mark.parametrize(
    ("first", "now", "expected"),
    [
        ("2026-07-01T07:00", "2026-07-01T07:00:01", (0, True)),
        ("2026-07-01T07:00", "2026-07-01T07:00:59", (0, True)),
        ("2026-07-01T07:00", "2026-07-01T07:01:00", (1, False)),
        ("2026-07-01T07:00", "2026-07-04T12:00:00", (4, False)),
        ("2026-07-01T07:00", "2026-07-04T07:00:30", (3, True)),
        ("2020-07-01T07:00", "2026-07-04T07:00:30", (schedule.COUNTED, True)),
    ],
)
def test_what_was_missed_is_counted_apart_from_what_is_on_time(first: str, now: str, expected: object) -> None:
    assert schedule.missed("0 9 * * *", BERLIN, utc(first), utc(now)) == expected


@pytest.mark.parametrize(
    ("cron", "zone", "told"),
    [
        ("61 * * * *", "UTC", "bad minute"),
        ("0 9 * *", "UTC", "five fields"),
        ("0 0 9 * * *", "UTC", "five fields"),
        ("@daily", "UTC", "five fields"),
        ("0 0 30 2 *", "UTC", "bad day-of-month"),
        ("* * */20 * 1L", "UTC", "never fires"),
        ("0 9 * * *", "Berlin", "no time zone"),
        ("0 9 * * *", "../../etc/passwd", "no time zone"),
        ("0 9 * * *", "", "no time zone"),
        ("0 9 * * *", "Europe", "no time zone"),
        (",".join("0" * 60) + " 9 * * *", "UTC", "no cron line"),
    ],
)
def test_what_is_no_schedule_is_refused_with_the_reason(cron: str, zone: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        schedule.check(cron, zone)
