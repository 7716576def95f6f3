"""What was spent, read back: of one execution or session, of a period, grouped by any attribution."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Row

from kit.db import Database
from ledger.limits import Budget
from ledger.tables import budgets, entries

Group = Literal["flow", "alias", "model", "execution_id", "session_id", "principal", "day", "status"]
_TOKENS = ("input", "cache_read", "cache_write", "output", "reasoning")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """A sum over entries. `unpriced` of its `calls` have no price and are missing from `cost_nano`."""

    cost_nano: int
    calls: int
    unpriced: int
    estimated: int
    input: int
    cache_read: int
    cache_write: int
    output: int
    reasoning: int


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


async def of_days(db: Database, account_id: str, first: date, last: date) -> Spend:
    """From the first day to the last, both included, in UTC."""
    return await _sum(db, account_id, entries.c.day.between(first.isoformat(), last.isoformat()))


async def by(
    db: Database, account_id: str, group: Group, *, first: date | None = None, last: date | None = None
) -> Sequence[tuple[str | None, Spend]]:
    """Spend per flow, alias, execution, … dearest first, at most 500 groups."""
    column = entries.c[group]
    within = [entries.c.account_id == account_id]
    if first:
        within.append(entries.c.day >= first.isoformat())
    if last:
        within.append(entries.c.day <= last.isoformat())
    dearest = sa.func.coalesce(sa.func.sum(entries.c.cost_nano), 0).desc()
    statement = sa.select(column.label("name"), *_sums()).where(*within).group_by(column).order_by(dearest, column)
    return [(row.name, _spend(row)) for row in await db.read(statement)]


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
    rows = await db.read(sa.select(*_sums()).where(entries.c.account_id == account_id, mine))
    return _spend(rows[0])


def _sums() -> list[sa.Label[Any]]:
    def total(what: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
        return sa.cast(sa.func.coalesce(sa.func.sum(what), 0), sa.BigInteger)  # PostgreSQL sums to NUMERIC

    estimated = sa.case((entries.c.cost_source == "estimated", 1), else_=0)
    return [
        total(entries.c.cost_nano).label("cost_nano"),
        sa.func.count().label("calls"),
        total(sa.case((entries.c.cost_nano.is_(None), 1), else_=0)).label("unpriced"),
        total(estimated).label("estimated"),
        *(total(entries.c[name]).label(f"{name}_tokens") for name in _TOKENS),
    ]


def _spend(row: Row[Any]) -> Spend:
    tokens = {name: int(getattr(row, f"{name}_tokens")) for name in _TOKENS}
    return Spend(cost_nano=row.cost_nano, calls=row.calls, unpriced=row.unpriced, estimated=row.estimated, **tokens)
