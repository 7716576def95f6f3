"""When a cron line fires, in a zone of the IANA database. Pure: it is told what time it is.

Five fields, as in crontab(5). A line with a fixed hour and minute fires once on every day it names, as Debian's cron
has it: a time that the clocks skip in spring comes right after the gap, one that comes twice in autumn counts the first
time. Lines with a star in hour or minute follow the time that really passes.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain, islice, takewhile
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

ON_TIME = timedelta(seconds=60)
"""How late a run may start and still count as on time; after that its time was missed."""
COUNTED = 1000
"""Missed times are counted so far."""
MAX_CRON = 100
"""Characters of a cron line."""


def check(cron: str, zone: str) -> None:
    """ValueError that says what is wrong with a cron line or a zone, or that it never fires."""
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{zone[:40]!r} is no time zone; write one as Europe/Berlin") from error
    if len(cron) > MAX_CRON or len(cron.split()) != 5:
        raise ValueError(f"{cron[:40]!r} is no cron line; write five fields, as 0 9 * * 1-5")
    try:
        found = following(cron, zone, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise ValueError(f"{cron!r} is no cron line: {str(error).lower()}") from error
    if not found:
        raise ValueError(f"{cron!r} never fires")


def following(cron: str, zone: str, after: datetime, count: int = 1) -> list[datetime]:
    """The next `count` fire times after a moment, in UTC; fewer when the line has no more in fifty years."""
    return list(islice(_fires(cron, zone, after), count))


def missed(cron: str, zone: str, first: datetime, now: datetime) -> tuple[int, bool]:
    """Of the fire times from `first` up to now: how many are too late to be on time (`COUNTED` at most), and whether
    one is on time."""
    edge = now - ON_TIME
    passed = islice(chain([first], _fires(cron, zone, first)), COUNTED)
    late = sum(1 for _ in takewhile(lambda fire: fire <= edge, passed))
    latest = first if first > edge else next(_fires(cron, zone, edge), None)
    return late, latest is not None and latest <= now


def _fires(cron: str, zone: str, after: datetime) -> Iterator[datetime]:
    for fire in CronSim(cron, after.astimezone(ZoneInfo(zone))):
        if (moment := fire.astimezone(UTC)) > after:  # seen from a repeated hour, the first one may be behind us
            yield moment
