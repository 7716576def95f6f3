"""Spend by any attribution and period, a page at a time: dearest first, or newest first where time leads.

Neighbours: `reports` says what a sum over entries is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import FunctionElement

from kit.db import Database
from ledger.reports import Spend, cost_sum, spend, sums
from ledger.tables import entries


class _Hour(FunctionElement[str]):
    """The hour of a moment in UTC, '2026-11-22 09', on both databases."""

    type = sa.String()
    inherit_cache = True


@compiles(_Hour)
def _of_text(element: _Hour, compiler: SQLCompiler, **more: Any) -> str:  # noqa: ANN401 - the compiler's own
    return f"substr({compiler.process(element.clauses, **more)}, 1, 13)"


@compiles(_Hour, "postgresql")
def _of_time(element: _Hour, compiler: SQLCompiler, **more: Any) -> str:  # noqa: ANN401 - the compiler's own
    return f"to_char({compiler.process(element.clauses, **more)} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24')"


GROUPS: Mapping[str, sa.ColumnElement[str]] = {
    "day": entries.c.day,
    "hour": _Hour(entries.c.at),
    "account": entries.c.account_id,
    "flow": entries.c.flow,
    "execution": entries.c.execution_id,
    "session": entries.c.session_id,
    "principal": entries.c.principal,
    "alias": entries.c.alias,
    "provider": entries.c.provider,
    "model": entries.c.model,
    "wire": entries.c.wire,
    "status": entries.c.status,
}
TIMES = ("day", "hour")
"""Groups that are read newest first."""
FILTERS = tuple(name for name in GROUPS if name not in (*TIMES, "account"))
MOST_GROUPS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which entries, in which groups. Both days are included, in UTC; `only` names one value of some attributions.
    `within` cuts the days of UTC to those of another zone: from a moment to before another one."""

    account_id: str
    by: tuple[str, ...]
    first: date
    last: date
    only: Mapping[str, str]
    within: tuple[datetime, datetime] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One group; a key is None where entries have none (a call outside of any flow)."""

    keys: tuple[str | None, ...]
    spend: Spend

    def place(self) -> list[str]:
        """Where it stands in the order: what the next page begins after."""
        return [str(self.spend.cost_nano), *(key or "" for key in self.keys)]


async def total(db: Database, asked: Asked) -> Spend:
    rows = await db.read(sa.select(*sums()).where(*_which(asked)))
    return spend(rows[0])


async def lines(db: Database, asked: Asked, *, after: Sequence[str] = (), limit: int) -> list[Line]:
    """At most `limit` groups after the one at that place; ties are in order of their names, backwards."""
    keys = [sa.func.coalesce(GROUPS[name], sa.literal_column("''"), type_=sa.String) for name in asked.by]
    order: list[sa.ColumnElement[Any]] = [*keys] if asked.by[0] in TIMES else [cost_sum(), *keys]
    statement = sa.select(*(key.label(f"key{n}") for n, key in enumerate(keys)), *sums()).where(*_which(asked))
    statement = statement.group_by(*keys).order_by(*(part.desc() for part in order)).limit(limit)
    if after:
        place = after[1:] if len(order) == len(keys) else [int(after[0]), *after[1:]]
        statement = statement.having(sa.tuple_(*order) < sa.tuple_(*map(sa.literal, place)))
    return [
        Line(keys=tuple(getattr(row, f"key{n}") or None for n in range(len(keys))), spend=spend(row))
        for row in await db.read(statement)
    ]


def _which(asked: Asked) -> list[sa.ColumnElement[bool]]:
    period = entries.c.day.between(asked.first.isoformat(), asked.last.isoformat())
    found = [entries.c.account_id == asked.account_id, period, *(GROUPS[n] == value for n, value in asked.only.items())]
    if asked.within:
        begin, end = asked.within
        found += [entries.c.at >= begin, entries.c.at < end]
    return found
