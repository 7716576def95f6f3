"""Budgets: their limits, what is spent and held of them, and the window that counts now."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row
from starlette.requests import Request
from starlette.routing import Route

from control.identity.principals import Person
from kit.db import Database
from ledger import budgets as ledger
from ledger import limits, money, reports
from ledger.limits import Budget, Period
from ledger.tables import budgets
from web import paging, shapes
from web.openapi import Operation
from web.paging import Page
from web.parts import Parts, parts

_SINGLE = ("execution", "run")
PERIODS: tuple[Period, ...] = ("hour", "day", "month", "total")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """Of which account, at which moment; '' is any scope and any subject."""

    account_id: str
    at: datetime
    scope: str
    subject: str

    @property
    def asked(self) -> sa.Select[Any]:
        here = sa.or_(
            *((budgets.c.period == p) & (budgets.c.window_start == limits.window(p, self.at)) for p in PERIODS)
        )
        found = sa.select(budgets).where(budgets.c.account_id == self.account_id, here)
        for column, value in ((budgets.c.scope, self.scope), (budgets.c.subject, self.subject)):
            found = found.where(column == value) if value else found
        return found


async def list_budgets(request: Request, person: Person) -> shapes.Listed[shapes.Budget]:
    """Those that count now, by scope; `?scope=flow&subject=pay` narrows it. One that is each subject's own is there
    from its first call on."""
    query = request.query_params
    return await standing(
        parts(request),
        person.account_id,
        paging.wanted(request),
        scope=query.get("scope", ""),
        subject=query.get("subject", ""),
    )


async def standing(
    given: Parts, account_id: str, page: Page, *, scope: str = "", subject: str = "", lasting: bool = False
) -> shapes.Listed[shapes.Budget]:
    """A page of them, by scope; `lasting` leaves out those of single executions and runs."""
    wanted = _Wanted(account_id=account_id, at=given.clock.now(), scope=scope, subject=subject)
    await _begin(given.db, account_id, given.limits.named(account_id, wanted.at))
    asked = wanted.asked.where(budgets.c.scope.not_in(_SINGLE)) if lasting else wanted.asked
    rows, further = await paging.read(given.db, asked, page, budgets.c.key)
    return shapes.Listed(items=[_shown(row) for row in rows], next=further)


async def of_the_day(given: Parts, account_id: str) -> shapes.Budget | None:
    """What the account may spend today: the hard limit, if there are two, else the lower one."""
    now = given.clock.now()
    named = given.limits.named(account_id, now)
    daily = [one for one in named if one.scope == "account" and one.period == "day" and one.subject == account_id]
    if not daily:
        return None
    budget = min(daily, key=lambda one: (not one.hard, one.limit_nano))
    bounds = limits.bounds("day", budget.window)
    stands = await reports.standing(given.db, account_id, budget)
    spent = stands.spent_nano if stands else 0
    return shapes.Budget(
        scope=budget.scope,
        subject=budget.subject,
        period=budget.period,
        since=bounds[0] if bounds else None,
        until=bounds[1] if bounds else None,
        kind=budget.kind,
        limit_usd=money.usd(budget.limit_nano),
        spent_usd=money.usd(spent),
        held_usd=money.usd(stands.held_nano if stands else 0),
        reached=spent >= budget.limit_nano,
    )


async def _begin(db: Database, account_id: str, named: Sequence[Budget]) -> None:
    """What the settings name has a row from now on, though no call has counted against it."""
    mine = (budgets.c.account_id == account_id) & budgets.c.key.in_([one.key for one in named])
    known = {row.key for row in await db.read(sa.select(budgets.c.key).where(mine))}
    if fresh := [one for one in named if one.key not in known]:
        await db.write(lambda tx: ledger.begin(tx, account_id, fresh))


def _shown(row: Row[Any]) -> shapes.Budget:
    bounds = limits.bounds(row.period, row.window_start)
    return shapes.Budget(
        scope=row.scope,
        subject=row.subject,
        period=row.period,
        since=bounds[0] if bounds else None,
        until=bounds[1] if bounds else None,
        kind=row.kind,
        limit_usd=money.usd(row.limit_nano),
        spent_usd=money.usd(row.spent_nano),
        held_usd=money.usd(row.held_nano),
        reached=row.spent_nano >= row.limit_nano,
    )


operations = [
    Operation(
        method="GET",
        path="/budgets",
        summary="Budgets, and how they stand",
        run=list_budgets,
        answers=shapes.Listed[shapes.Budget],
        query=("scope", "subject", *paging.QUERY),
    )
]
routes: list[Route] = []
