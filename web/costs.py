"""What runs cost, read from the ledger for pages: decimal strings; None is unknown, and unpriced is not zero."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import sqlalchemy as sa

from kit.db import Database
from ledger import money, reports
from ledger.tables import entries
from web import paging, shapes
from web.paging import Page


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """`usd` is the sum of what has a price; `unpriced` calls are missing from it."""

    usd: str | None = None
    unpriced: int = 0


NOTHING = Cost()


async def of_executions(db: Database, account_id: str, execution_ids: Sequence[str]) -> dict[str, Cost]:
    """For a page of a list, in one question."""
    if not execution_ids:
        return {}
    mine = (entries.c.account_id == account_id) & entries.c.execution_id.in_(execution_ids)
    priced = sa.func.count(entries.c.cost_nano)
    total = sa.cast(sa.func.coalesce(sa.func.sum(entries.c.cost_nano), 0), sa.BigInteger)
    asked = sa.select(
        entries.c.execution_id, total.label("nano"), priced.label("priced"), sa.func.count().label("calls")
    )
    rows = await db.read(asked.where(mine).group_by(entries.c.execution_id))
    return {row.execution_id: _cost(row.nano, row.calls, row.calls - row.priced) for row in rows}


def _cost(nano: int, calls: int, unpriced: int) -> Cost:
    return Cost(usd=money.usd(nano) if calls > unpriced else None, unpriced=unpriced)


def of(spend: reports.Spend) -> Cost:
    """A report's sum; no call at all is a known zero."""
    known = spend.calls > spend.unpriced or spend.calls == 0
    return Cost(usd=money.usd(spend.cost_nano) if known else None, unpriced=spend.unpriced)


async def model_calls(db: Database, account_id: str, execution_id: str, page: Page) -> shapes.Listed[shapes.ModelCall]:
    """Each attempt at a model, oldest first."""
    rows, further = await paging.read(db, reports.calls(account_id, execution_id), page, entries.c.id)
    items = [
        shapes.ModelCall(
            id=row.id,
            at=row.at,
            alias=row.alias,
            model=row.model,
            provider=row.provider,
            wire=row.wire,
            status=row.status,
            attempt=row.attempt,
            input_tokens=row.input + row.cache_read + row.cache_write,
            output_tokens=row.output + row.reasoning,
            cost_usd=None if row.cost_nano is None else money.usd(row.cost_nano),
            cost_source=row.cost_source,
            duration_ms=row.total_ms,
            first_token_ms=row.first_token_ms,
            error=row.error_class,
        )
        for row in rows
    ]
    return shapes.Listed(items=items, next=further)


async def lines(db: Database, account_id: str, group: reports.Group, first: date, last: date) -> list[shapes.SpendLine]:
    """Spend per flow, model, day, …: dearest first, days newest first."""
    found = [
        shapes.SpendLine(
            name=name or "—",
            cost_usd=of(spend).usd,
            unpriced_calls=spend.unpriced,
            calls=spend.calls,
            input_tokens=spend.input + spend.cache_read + spend.cache_write,
            output_tokens=spend.output + spend.reasoning,
        )
        for name, spend in await reports.by(db, account_id, group, first=first, last=last)
    ]
    return sorted(found, key=lambda line: line.name, reverse=True) if group == "day" else found
