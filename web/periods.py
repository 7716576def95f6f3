"""Periods as people write them, `today`, `7d`, `month` or a date, as the first and the last day. Pure."""

import re
from datetime import date, timedelta

from kit.errors import Invalid

MOST_DAYS = 366
_DAYS = re.compile(r"([0-9]{1,4})d", re.ASCII)
HINT = f"Write today, month, 1d to {MOST_DAYS}d, or a date like 2026-11-22."


def period(since: str, until: str, today: date) -> tuple[date, date]:
    """First and last day, both included. `7d` are the last seven days, today among them; `month` began on its first."""
    last = _day("until", until, today) if until else today
    first = _day("since", since, last)
    if first > last:
        raise Invalid("query_invalid", f"since={since[:40]!r} is after {last}.", HINT)
    if (last - first).days >= MOST_DAYS:
        raise Invalid("query_invalid", f"From {first} to {last} are more than {MOST_DAYS} days.", "Ask year by year.")
    return first, last


def _day(name: str, text: str, last: date) -> date:
    if text == "today":
        return last
    if text == "month":
        return last.replace(day=1)
    days = _DAYS.fullmatch(text)
    try:
        if days and 0 < int(days[1]) <= MOST_DAYS:
            return last - timedelta(days=int(days[1]) - 1)
        if len(text) == 10:
            return date.fromisoformat(text)
    except (ValueError, OverflowError):
        pass
    raise Invalid("query_invalid", f"{name}={text[:40]!r} is no period of at most {MOST_DAYS} days.", HINT)
