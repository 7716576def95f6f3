"""The first page: what waits for a person, what ran, what it cost today; each number opens the list behind it."""

from datetime import UTC, timedelta
from decimal import Decimal

import sqlalchemy as sa
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from control.identity.principals import Person
from control.tables import accounts, approvals, sessions, tool_calls
from kit import clock, ids
from ledger import reports
from ledger.book import Status
from ledger.tables import entries
from web import approval_reading, auth, budgets, calls, costs, reading, shapes
from web.approval_shapes import Approval
from web.openapi import Operation
from web.paging import Page
from web.parts import Parts, parts
from web.render import page

RECENT = 8
WAITING = 5
FAILED = 10
"""Failures that are shown, at most."""


class Dashboard(BaseModel):
    active_sessions: int
    tool_calls_24h: int
    time_zone: str
    """Of the account: its days are those of `spend_today_usd`."""
    spend_today_usd: str | None
    unpriced_calls_today: int
    unmetered_executions_today: int
    """Past the gateway: what they cost is in no figure."""
    daily_budget: shapes.Budget | None
    """What the account may spend in a day of UTC; None where the settings name none."""
    gateway_success_24h: float | None
    """From 0 to 1; None without a call."""
    waiting: int
    """Requests that wait for a person."""
    waiting_approvals: list[Approval]
    """The first of them."""
    recent_failures: list[shapes.Execution]
    """Those that ended last in FAILED or TIMEOUT."""
    recent_executions: list[shapes.Execution]


async def get_dashboard(request: Request, person: Person) -> Dashboard:
    given, account_id = parts(request), person.account_id
    now, db = given.clock.now(), given.db
    zone = (await db.read(sa.select(accounts.c.time_zone).where(accounts.c.id == account_id)))[0].time_zone
    day = now.astimezone(clock.zone(zone)).date()
    today = clock.span(day, day, clock.zone(zone))
    spent = costs.of(await reports.between(db, account_id, *today))
    alive = (sessions.c.alive_until > now) & sessions.c.revoked_at.is_(None) & sessions.c.opened_at.is_not(None)
    since = now - timedelta(days=1)
    asked = (tool_calls.c.account_id == account_id) & (tool_calls.c.asked_at > since)
    asked &= tool_calls.c.id > ids.earliest("tcl", since)  # the index of all tables
    runs = await reading.executions_listed(db, account_id, reading.Wanted(page=Page(limit=RECENT)), now)
    failed = await reading.failures(db, account_id, FAILED, now)
    return Dashboard(
        active_sessions=await reading.count(db, sessions, sessions.c.account_id == account_id, alive),
        tool_calls_24h=await reading.count(db, tool_calls, asked),
        time_zone=zone,
        spend_today_usd=spent.usd,
        unpriced_calls_today=spent.unpriced,
        unmetered_executions_today=await costs.unmetered(db, account_id, *today),
        daily_budget=await budgets.of_the_day(given, account_id),
        gateway_success_24h=await _success(given, account_id),
        waiting=await reading.count(
            db, approvals, approvals.c.account_id == account_id, approvals.c.status == "pending"
        ),
        waiting_approvals=(await approval_reading.listed(db, account_id, Page(limit=WAITING), pending=True)).items,
        recent_failures=failed,
        recent_executions=runs.items,
    )


async def _success(given: Parts, account_id: str) -> float | None:
    """The share of model calls of the last day that were answered, by whichever of their attempts: at most one of a
    call is, and each call has a first one."""
    since = given.clock.now() - timedelta(days=1)
    good = sa.func.count(sa.case((entries.c.status == Status.ANSWERED.value, 1)))
    recent = (entries.c.account_id == account_id) & (entries.c.at > since) & entries.c.corrects.is_(None)
    recent &= entries.c.day >= since.astimezone(UTC).date().isoformat()  # what there is an index of
    first = sa.func.count(sa.case((entries.c.attempt == 0, 1)))
    [row] = await given.db.read(sa.select(good.label("good"), first.label("calls")).where(recent))
    return min(1.0, row.good / row.calls) if row.calls else None  # an answer may be of a call that began before


async def dashboard_page(request: Request, person: Person) -> Response:
    board = await get_dashboard(request, person)
    return page(request, "dashboard.html", person, board=board, share=_share(board.daily_budget))


def _share(budget: shapes.Budget | None) -> int:
    """Of a budget that is spent, in percent."""
    limit = Decimal(budget.limit_usd) if budget else Decimal(0)
    return min(100, round(Decimal(budget.spent_usd) / limit * 100)) if budget and limit else 100


routes = [Route("/", auth.shown(dashboard_page), methods=["GET"]), *calls.routes]
operations = [
    Operation(method="GET", path="/dashboard", summary="The first page", run=get_dashboard, answers=Dashboard),
    *calls.operations,
]
