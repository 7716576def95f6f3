"""The day of a time zone, through every change of clocks."""

from datetime import UTC, datetime

import pytest

from kit import clock


@pytest.mark.parametrize(
    ("now", "zone", "began", "following"),
    [
        ("2026-11-22T23:30", "UTC", "2026-11-22T00:00", "2026-11-23T00:00"),
        ("2026-11-22T23:30", "Europe/Berlin", "2026-11-22T23:00", "2026-11-23T23:00"),
        ("2026-03-29T12:00", "Europe/Berlin", "2026-03-28T23:00", "2026-03-29T22:00"),  # 23 hours
        ("2026-10-25T12:00", "Europe/Berlin", "2026-10-24T22:00", "2026-10-25T23:00"),  # 25 hours
        ("2026-06-01T18:29", "Asia/Kolkata", "2026-05-31T18:30", "2026-06-01T18:30"),
        ("2026-06-01T09:59", "Pacific/Kiritimati", "2026-05-31T10:00", "2026-06-01T10:00"),
    ],
)
def test_a_day_is_the_zone_s(now: str, zone: str, began: str, following: str) -> None:
    today = datetime.fromisoformat(now).replace(tzinfo=UTC).astimezone(clock.zone(zone)).date()
    found = clock.span(today, today, clock.zone(zone))
    assert [moment.strftime("%Y-%m-%dT%H:%M") for moment in found] == [began, following]
