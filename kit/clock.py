"""Where the time comes from: UTC, aware, one replaceable object. Leases ask the database instead (`Tx.now`)."""

import time
from datetime import UTC, date, datetime, timedelta
from datetime import time as hour
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from kit.errors import Invalid


class Clock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds, for measuring how long something took."""
        return time.monotonic()


def zone(name: str) -> ZoneInfo:
    """A zone of the IANA database."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise Invalid("time_zone_unknown", f"{name[:40]!r} is no time zone.", "Write one as Europe/Berlin.") from error


def span(first: date, last: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """From the beginning of a day to the end of another, both of a zone, as moments of UTC. Days on which clocks change
    have 23 or 25 hours. OverflowError near the calendar's ends."""
    begin, end = (datetime.combine(day, hour(), zone) for day in (first, last + timedelta(days=1)))
    return begin.astimezone(UTC), end.astimezone(UTC)


def rfc3339(moment: datetime) -> str:
    """`2026-11-22T09:30:17.123456Z`; fixed width, so that texts sort as times do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
