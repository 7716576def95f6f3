"""What runs cost, read from the ledger for pages: decimal strings; None is unknown, and unpriced is not zero."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control.tables import executions, flows
from kit.db import Database
from ledger import money, reports
from ledger.book import Status
from ledger.prices import INPUT, OUTPUT
from ledger.tables import entries
from web import attempts, paging, shapes
from web.flow_shapes import RunCost
from web.paging import Page

MOST_RUNS = 1000
"""Runs whose mean cost is told: the newest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """`usd` is the sum of what has a price; `unpriced` calls are missing from it."""

    usd: str | None = None
    unpriced: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


NOTHING = Cost()


async def of_executions(db: Database, account_id: str, execution_ids: Sequence[str]) -> dict[str, Cost]:
    """For a page of a list, in one question."""
    if not execution_ids:
        return {}
    mine = (entries.c.account_id == account_id) & entries.c.execution_id.in_(execution_ids)
    asked = sa.select(entries.c.execution_id, *reports.sums()).where(mine)
    rows = await db.read(asked.group_by(entries.c.execution_id))
    return {row.execution_id: of(reports.spend(row)) for row in rows}


def of(spend: reports.Spend) -> Cost:
    """A report's sum; no call at all is a known zero."""
    known = spend.calls > spend.unpriced or spend.calls == 0
    return Cost(
        usd=money.usd(spend.cost_nano) if known else None,
        unpriced=spend.unpriced,
        input_tokens=spend.total_input,
        output_tokens=spend.total_output,
    )


def counted(spend: reports.Spend) -> dict[str, Any]:
    """The fields of `spend.Counted`."""
    return {
        "calls": spend.calls,
        "unpriced_calls": spend.unpriced,
        "estimated_calls": spend.estimated,
        "estimated_usd": money.usd(spend.estimated_nano),
        "hosted_calls": spend.hosted_calls,
        "hosted_usd": money.usd(spend.hosted_nano),
        "input_tokens": spend.total_input,
        "output_tokens": spend.total_output,
    }


async def unmetered(
    db: Database, account_id: str, since: datetime, until: datetime, *which: sa.ColumnElement[bool]
) -> int:
    """How many executions went past the gateway from a moment to before another one."""
    mine = (executions.c.account_id == account_id) & (executions.c.unmetered_at >= since)
    asked = sa.select(sa.func.count()).select_from(executions)
    [row] = await db.read(asked.where(mine, executions.c.unmetered_at < until, *which))
    return int(row[0])


async def per_run(db: Database, account_id: str, flow: str, since: datetime) -> RunCost:
    """Of a flow's newest runs that ended. The ledger is asked for those runs alone, whatever else there is."""
    its = executions.c
    mine = (flows.c.account_id == account_id) & (flows.c.name == flow)
    ended = sa.select(its.id, its.unmetered_at).join(flows, flows.c.id == its.flow_id)
    ended = ended.where(mine, its.created_at > since, its.claimed_at.is_not(None), its.ended_at.is_not(None))
    runs = ended.order_by(its.created_at.desc()).limit(MOST_RUNS).subquery()
    metered = sa.func.count(sa.case((runs.c.unmetered_at.is_(None), 1)))
    [told] = await db.read(sa.select(sa.func.count().label("all"), metered.label("metered")))
    theirs = entries.c.execution_id.in_(sa.select(runs.c.id).where(runs.c.unmetered_at.is_(None)))
    asked = sa.select(*reports.sums()).where(entries.c.account_id == account_id, theirs)
    spent = reports.spend((await db.read(asked))[0])
    known = told.metered and of(spent).usd is not None
    return RunCost(
        per_run_usd=money.usd(spent.cost_nano // told.metered) if known else None,
        runs=told.metered,
        unpriced_calls=spent.unpriced,
        unmetered=told.all - told.metered,
    )


async def model_calls(db: Database, account_id: str, execution_id: str, page: Page) -> shapes.Listed[shapes.ModelCall]:
    """Each attempt at a model, oldest first."""
    rows, further = await paging.read(db, reports.calls(account_id, execution_id), page, entries.c.id)
    return shapes.Listed(items=await _model_calls(db, account_id, execution_id, rows), next=further)


async def broken_call(db: Database, account_id: str, execution_id: str) -> shapes.ModelCall | None:
    """The last attempt that was not answered."""
    broken = reports.calls(account_id, execution_id).where(entries.c.status != Status.ANSWERED.value)
    rows = await db.read(broken.order_by(entries.c.id.desc()).limit(1))
    return next(iter(await _model_calls(db, account_id, execution_id, rows)), None)


async def _model_calls(
    db: Database, account_id: str, execution_id: str, rows: Sequence[Row[Any]]
) -> list[shapes.ModelCall]:
    told = await attempts.told(db, account_id, execution_id, rows)
    return [
        shapes.ModelCall(
            id=row.id,
            at=row.at,
            alias=row.alias,
            model=row.model,
            provider=row.provider,
            wire=row.wire,
            status=row.status,
            attempt=row.attempt,
            input_tokens=sum(getattr(row, name) for name in INPUT),
            output_tokens=sum(getattr(row, name) for name in OUTPUT),
            hosted_calls=row.hosted_calls,
            cost_usd=None if row.cost_nano is None else money.usd(row.cost_nano),
            cost_source=row.cost_source,
            corrects=row.corrects,
            duration_ms=row.total_ms,
            first_token_ms=row.first_token_ms,
            error=row.error_class,
            told=told.get(row.id),
        )
        for row in rows
    ]
