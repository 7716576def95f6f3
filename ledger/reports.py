"""What was spent, read back: of one execution or session, or of a period. `spending` groups it by any attribution.

A correction adds to the cost of a call and is not one itself.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from kit.db import Database
from ledger.limits import Budget
from ledger.prices import CLASSES, Usage
from ledger.tables import budgets, entries


class Spend(Usage, frozen=True, kw_only=True):
    """A sum over entries: tokens by class, nano-dollars, calls.

    `unpriced` of its `calls` have no price and are missing from `cost_nano`; `estimated` ones are in it, with
    `estimated_nano` together. `hosted_calls` are uses of tools that ran at the provider, `hosted_nano` is their part.
    """

    cost_nano: int
    calls: int
    unpriced: int
    estimated: int
    estimated_nano: int
    hosted_calls: int = 0
    hosted_nano: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a budget stands."""

    limit_nano: int
    spent_nano: int
    held_nano: int


async def of_execution(db: Database, account_id: str, execution_id: str) -> Spend:
    return await _sum(db, account_id, entries.c.execution_id == execution_id)


async def of_session(db: Database, account_id: str, session_id: str) -> Spend:
    return await _sum(db, account_id, entries.c.session_id == session_id)


async def between(db: Database, account_id: str, since: datetime, until: datetime) -> Spend:
    """From a moment to before another one: a day of a time zone, which is no day in UTC."""
    days = entries.c.day.between(since.astimezone(UTC).date().isoformat(), until.astimezone(UTC).date().isoformat())
    return await _sum(db, account_id, days & (entries.c.at >= since) & (entries.c.at < until))


def calls(account_id: str, execution_id: str) -> sa.Select[Any]:
    """The question for the entries of one execution; ids sort by time. Whoever asks it orders and cuts it."""
    return sa.select(entries).where(entries.c.account_id == account_id, entries.c.execution_id == execution_id)


async def standing(db: Database, account_id: str, budget: Budget) -> Standing | None:
    """A budget as it is now; None until the first call made it."""
    mine = (budgets.c.account_id == account_id) & (budgets.c.key == budget.key)
    rows = await db.read(sa.select(budgets).where(mine))
    if not rows:
        return None
    row = rows[0]
    return Standing(limit_nano=row.limit_nano, spent_nano=row.spent_nano, held_nano=row.held_nano)


async def _sum(db: Database, account_id: str, mine: sa.ColumnElement[bool]) -> Spend:
    rows = await db.read(sa.select(*sums()).where(entries.c.account_id == account_id, mine))
    return spend(rows[0])


def sums() -> list[sa.Label[Any]]:
    """The columns that a Spend is read from."""
    estimated = entries.c.cost_source == "estimated"
    return [
        cost_sum().label("cost_nano"),
        _count(_A_CALL).label("calls"),
        _count(_A_CALL & entries.c.cost_nano.is_(None) & ~_PRICED_LATER).label("unpriced"),
        _count(_A_CALL & estimated).label("estimated"),
        _total(sa.case((estimated, entries.c.cost_nano), else_=0)).label("estimated_nano"),
        *(_total(entries.c[name]).label(name) for name in _HOSTED),
        *(_total(entries.c[name]).label(f"{name}_tokens") for name in CLASSES),
    ]


def cost_sum() -> sa.ColumnElement[int]:
    return _total(entries.c.cost_nano)


def spend(row: Row[Any]) -> Spend:
    """A row of `sums`."""
    tokens = {name: int(getattr(row, f"{name}_tokens")) for name in CLASSES}
    names = ("cost_nano", "calls", "unpriced", "estimated", "estimated_nano", *_HOSTED)
    return Spend(**tokens, **{name: int(getattr(row, name)) for name in names})


def _total(what: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
    return sa.cast(sa.func.coalesce(sa.func.sum(what), 0), sa.BigInteger)  # PostgreSQL sums to NUMERIC


def _count(which: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return _total(sa.case((which, 1), else_=0))


_HOSTED = ("hosted_calls", "hosted_nano")
_A_CALL = entries.c.corrects.is_(None)
_LATER = entries.alias("later")
_PRICED_LATER = sa.exists().where(_LATER.c.corrects == entries.c.id).correlate(entries)
