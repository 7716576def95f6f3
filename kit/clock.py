"""Where the time comes from: UTC, aware, one replaceable object. Leases ask the database instead (`Tx.now`)."""

import time
from datetime import UTC, datetime


class Clock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds, for measuring how long something took."""
        return time.monotonic()


def rfc3339(moment: datetime) -> str:
    """`2026-11-22T09:30:17.123456Z`; fixed width, so that texts sort as times do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
