"""How a flow fares: which share of its runs succeeded, and how long they took.

Runs that people cancelled say nothing of it. A look reads at most `MOST` rows, the newest, by the flow's own index.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from control.executions.states import FINAL, Stored
from control.tables import executions, flows
from kit.db import Database, millis

DAYS = 30
MOST = 10_000
_JUDGED = sorted(state.value for state in FINAL - {Stored.CANCELLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """`runs` ended in another way than CANCELLED, of those made in the last 30 days. Durations are from a claim to
    the end, approvals included and the queue not; the 95th percentile is by nearest rank. None without any."""

    runs: int
    succeeded: int
    mean_ms: int | None
    p95_ms: int | None

    @property
    def success_rate(self) -> float | None:
        """From 0 to 1."""
        return self.succeeded / self.runs if self.runs else None


async def of_flow(db: Database, account_id: str, name: str, now: datetime) -> Health:
    """Of a flow by its name; what it did under an older version counts."""
    flow = sa.select(flows.c.id).where(flows.c.account_id == account_id, flows.c.name == name).scalar_subquery()
    its = executions.c
    judged = _newest(flow, now, its.state, millis(its.claimed_at, its.ended_at).label("ms"))
    good = _good(judged)
    mean = sa.cast(sa.func.avg(judged.c.ms), sa.BigInteger)
    timed = sa.func.count(judged.c.ms)  # not those that ended in the queue
    counts = (sa.func.count().label("runs"), good.label("good"), mean.label("mean"), timed.label("timed"))
    [told] = await db.read(sa.select(*counts))
    p95 = await _at_rank(db, judged, -(-told.timed * 95 // 100)) if told.timed else None
    return Health(runs=told.runs, succeeded=told.good, mean_ms=told.mean, p95_ms=p95)


async def rates(db: Database, flow_ids: Sequence[str], now: datetime) -> dict[str, tuple[int, int]]:
    """For a page of a list, in one question: (runs, succeeded) of each flow by its id, counted as `of_flow` does."""
    if not flow_ids:
        return {}
    counted = []
    for flow_id in flow_ids:
        judged = _newest(flow_id, now, executions.c.state)  # of the index alone
        runs = sa.func.count().label("runs")
        counted.append(sa.select(sa.literal(flow_id).label("flow_id"), runs, _good(judged).label("good")))
    return {row.flow_id: (row.runs, row.good) for row in await db.read(sa.union_all(*counted))}


def _newest(
    flow: sa.ColumnElement[str] | sa.ScalarSelect[Any] | str, now: datetime, *columns: sa.ColumnElement[Any]
) -> sa.Subquery:
    """The newest runs of a flow that say something of it."""
    its = executions.c
    made = sa.select(*columns).where(its.flow_id == flow, its.created_at > now - timedelta(days=DAYS))
    return made.where(its.state.in_(_JUDGED)).order_by(its.created_at.desc()).limit(MOST).subquery()


def _good(judged: sa.Subquery) -> sa.ColumnElement[int]:
    return sa.func.count(sa.case((judged.c.state == Stored.SUCCEEDED.value, 1)))


async def _at_rank(db: Database, judged: sa.Subquery, rank: int) -> int:
    """The duration of which so many are no longer."""
    timed = sa.select(judged.c.ms).where(judged.c.ms.is_not(None))
    rows = await db.read(timed.order_by(judged.c.ms).offset(rank - 1).limit(1))
    return int(rows[0].ms)
