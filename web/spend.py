"""Spend: what model calls cost, by any attribution. No price is shown as unpriced, never as zero; estimates apart."""

import csv
import io
from datetime import UTC, date, datetime, time
from typing import Any
from urllib.parse import urlencode

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from control.identity.principals import Person
from control.tables import executions
from kit import clock
from kit.db import READ_LIMIT, Database
from kit.errors import Invalid
from ledger import spending
from ledger.prices import CLASSES
from ledger.spending import FILTERS, GROUPS, MOST_GROUPS, Asked, Line
from web import auth, budgets, charts, costs, paging, periods
from web.openapi import Operation
from web.paging import Page
from web.parts import parts
from web.render import page

SINCE = "30d"
PERIODS = {"today": "today", "7d": "7 days", "30d": "30 days", "month": "this month", "366d": "a year"}
OFFERED = ("model", "flow", "execution", "principal")
"""Beside each day, on the page."""
MOST_CSV = 10_000
"""Lines of one CSV; what goes on has a `Link` header to it."""
_RUNS = {"flow": executions.c.flow_name, "execution": executions.c.id, "session": executions.c.session_id}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Counted(BaseModel):
    """Beside a cost: `unpriced_calls` are missing from it, `estimated_calls` are in it, with `estimated_usd`.
    `hosted_calls` are uses of tools that ran at the provider (a web search), `hosted_usd` is their part of it."""

    calls: int
    unpriced_calls: int
    estimated_calls: int
    estimated_usd: str
    hosted_calls: int
    hosted_usd: str
    input_tokens: int
    output_tokens: int


class SpendLine(Counted):
    """`keys` has the group by attribution; in `tokens` each token is in one class."""

    name: str
    keys: dict[str, str | None]
    cost_usd: str | None
    tokens: dict[str, int]


class Spend(Counted):
    """Of all groups together, and a page of them. `first` and `last` are days of `zone`, both whole and included; the
    groups `day` and `hour` are of UTC. `unmetered_executions` went past the gateway, and are in no group: what they
    cost is not known."""

    by: str
    first: str
    last: str
    zone: str
    total_usd: str | None
    unmetered_executions: int
    items: list[SpendLine]
    next: str | None = None


async def get_spend(request: Request, person: Person) -> Spend | Response:
    """`?by=flow,model&since=7d`; days of UTC, or of `zone`. `format=csv` has the same lines, up to 10,000 of them."""
    match request.query_params.get("format", "json"):
        case "json":
            return await _found(request, person)
        case "csv":
            return await _csv(request, person)
    raise Invalid("query_invalid", "format is neither json nor csv.", "Leave it out for JSON.")


async def _found(request: Request, person: Person) -> Spend:
    given, (asked, days, zone), wanted = parts(request), _asked(request, person), paging.wanted(request)
    after = paging.opened(wanted.cursor, 1 + len(asked.by)) if wanted.cursor else []
    found, further = await _lines(given.db, asked, after, wanted.limit)
    total = await spending.total(given.db, asked)
    return Spend(
        by=",".join(asked.by),
        first=days[0].isoformat(),
        last=days[1].isoformat(),
        zone=zone,
        total_usd=costs.of(total).usd,
        unmetered_executions=await _unmetered(given.db, asked),
        **costs.counted(total),
        items=[_shown(asked, line) for line in found],
        next=further,
    )


async def _unmetered(db: Database, asked: Asked) -> int:
    """By what an execution that went past the gateway can be told: the other attributions are of calls."""
    only = [_RUNS[name] == value for name, value in asked.only.items() if name in _RUNS]
    whole = datetime.combine(asked.first, time.min, UTC), datetime.combine(asked.last, time.max, UTC)
    return await costs.unmetered(db, asked.account_id, *(asked.within or whole), *only)


def _asked(request: Request, person: Person) -> tuple[Asked, tuple[date, date], str]:
    """The question, the days that it names, and their zone."""
    query = request.query_params
    groups = tuple(name.removesuffix("_id") for name in query.get("by", "day").split(","))
    if unknown := [name for name in groups if name not in GROUPS]:
        raise Invalid("query_invalid", f"by={unknown[0][:40]!r} is no grouping.", f"There are {', '.join(GROUPS)}.")
    if len(groups) > MOST_GROUPS or len(set(groups)) < len(groups):
        raise Invalid("query_invalid", f"by takes at most {MOST_GROUPS} groupings, each once.", "Write day,model.")
    zone = clock.zone(query.get("zone") or "UTC")
    today = parts(request).clock.now().astimezone(zone).date()
    days = first, last = periods.period(query.get("since") or SINCE, query.get("until", ""), today)
    within = None
    if zone.key != "UTC":
        try:
            begin, end = within = clock.span(first, last, zone)
        except OverflowError as error:
            raise Invalid("query_invalid", f"{first} to {last} leaves the calendar in {zone.key}.") from error
        first, last = begin.date(), end.date()
    only = {name: query[name] for name in FILTERS if name in query}
    return (
        Asked(account_id=person.account_id, by=groups, first=first, last=last, only=only, within=within),
        days,
        zone.key,
    )


async def _lines(db: Database, asked: Asked, after: list[str], limit: int) -> tuple[list[Line], str | None]:
    """A page, and the cursor of the next one."""
    try:
        found = await spending.lines(db, asked, after=after, limit=limit + 1)
    except ValueError as error:
        raise paging.refused(paging.sealed(after)) from error
    shown = found[:limit]
    return shown, paging.sealed(shown[-1].place()) if len(found) > limit else None


def _shown(asked: Asked, line: Line) -> SpendLine:
    keys = {name: _key(name, key) for name, key in zip(asked.by, line.keys, strict=True)}
    return SpendLine(
        name=" · ".join(key or "—" for key in keys.values()),
        keys=keys,
        cost_usd=costs.of(line.spend).usd,
        **costs.counted(line.spend),
        tokens={name: getattr(line.spend, name) for name in CLASSES},
    )


def _key(name: str, key: str | None) -> str | None:
    """An hour as RFC 3339 has it, less its minutes' digits: 2026-11-22T09:00Z."""
    return f"{key.replace(' ', 'T')}:00Z" if key and name == "hour" else key


async def _csv(request: Request, person: Person) -> Response:
    """One line a group, costs in dollars, every class of tokens in a column of its own."""
    given, (asked, days, _), cursor = parts(request), _asked(request, person), request.query_params.get("cursor", "")
    lines: list[SpendLine] = []
    while len(lines) < MOST_CSV:
        after = paging.opened(cursor, 1 + len(asked.by)) if cursor else []
        found, further = await _lines(given.db, asked, after, min(READ_LIMIT - 1, MOST_CSV - len(lines)))
        lines += [_shown(asked, line) for line in found]
        cursor = further or ""
        if not cursor:
            break
    headers = {"content-disposition": f'attachment; filename="spend-{days[0]}-{days[1]}.csv"'}
    if cursor:
        again = urlencode({**request.query_params, "cursor": cursor})
        headers["link"] = f'<{request.url.path}?{again}>; rel="next"'
    return Response(_written(asked, lines), media_type="text/csv", headers=headers)


def _written(asked: Asked, lines: list[SpendLine]) -> str:
    out = io.StringIO()
    rows: Any = csv.writer(out)
    counts = ("calls", "unpriced_calls", "estimated_calls", "hosted_calls", "hosted_usd")
    rows.writerow([*asked.by, *counts, *(f"{name}_tokens" for name in CLASSES), "estimated_usd", "cost_usd"])
    for line in lines:
        keys = [_plain(line.keys[name] or "") for name in asked.by]
        figures = [getattr(line, name) for name in counts]
        rows.writerow([*keys, *figures, *line.tokens.values(), line.estimated_usd, line.cost_usd or ""])
    return out.getvalue()


def _plain(text: str) -> str:
    """A name that a spreadsheet does not take for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


async def spend_page(request: Request, person: Person) -> Response:
    """The lines with a bar each, the longest of this page fills its column; and the budgets that count now."""
    given, found, query = parts(request), await _found(request, person), request.query_params
    stand = await budgets.standing(given, person.account_id, Page(), lasting=True)
    asked = {name: query[name] for name in ("by", "since", "until", "zone", *FILTERS) if name in query}
    values: dict[str, Any] = {
        "groups": _choices(found.by),
        "since": query.get("since", SINCE),
        "periods": PERIODS,
        "asked": asked,
    }
    csv_ = urlencode(asked | {"format": "csv"})
    drawn = zip(found.items, charts.lengths([line.cost_usd for line in found.items]), strict=True)
    budgeted = [(one, charts.gauge(one.spent_usd, one.held_usd, one.limit_usd)) for one in stand.items]
    return page(request, "spend.html", person, spend=found, lines=list(drawn), budgets=budgeted, csv=csv_, **values)


def _choices(by: str) -> dict[str, str]:
    """What the page offers to group by, and what is asked for."""
    offered = [
        "day",
        *(f"day,{name}" for name in OFFERED),
        *(name for name in GROUPS if name not in ("day", "account")),
    ]
    return {group: group.replace(",", " × ") for group in dict.fromkeys([*offered, by])}


routes = [Route("/spend", auth.shown(spend_page), methods=["GET"])]
operations = [
    Operation(
        method="GET",
        path="/spend",
        summary="What model calls cost",
        run=get_spend,
        answers=Spend,
        query=("by", "since", "until", "zone", *FILTERS, "format", *paging.QUERY),
    )
]
