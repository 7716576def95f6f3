"""How flows fare, as pages show it: bars of the last ten runs and the success rate, of all flows of a page at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control.executions import health, states
from control.tables import executions
from kit.db import READ_LIMIT, Database
from web import charts, format
from web.charts import Bar
from web.shapes import Execution

TEN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One of the last ten: all that its bar tells."""

    id: str
    state: str
    final: bool
    duration_ms: int | None
    created_at: datetime

    @property
    def url(self) -> str:
        return f"/executions/{self.id}"

    @classmethod
    def of(cls, run: Execution) -> "Run":
        return cls(id=run.id, state=run.state, final=run.final, duration_ms=run.duration_ms, created_at=run.created_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fares:
    """Oldest first; `runs` and `succeeded` are those of `control/executions/health`."""

    bars: list[tuple[Bar, Run]]
    runs: int = 0
    succeeded: int = 0

    @property
    def said(self) -> str:
        """The bars in words: '4 succeeded, 1 failed'."""
        shown = [format.look(format.STATES, run.state).label.lower() for _, run in self.bars]
        return ", ".join(f"{shown.count(word)} {word}" for word in dict.fromkeys(shown))


def drawn(runs: Sequence[Run]) -> list[tuple[Bar, Run]]:
    """Bars of runs, which come newest first."""
    oldest_first = list(reversed(runs))
    return list(zip(charts.bars([run.duration_ms for run in oldest_first]), oldest_first, strict=True))


async def of_flows(db: Database, flow_ids: Sequence[str], now: datetime) -> dict[str, Fares]:
    """Of a page's flows. One question for the rates and, as a read has 500 rows, one for the bars of every 50 flows."""
    rates = await health.rates(db, flow_ids, now)
    runs: dict[str, list[Run]] = {flow_id: [] for flow_id in flow_ids}
    most = READ_LIMIT // TEN
    for start in range(0, len(flow_ids), most):
        for row in await db.read(sa.union_all(*map(_last_ten, flow_ids[start : start + most]))):
            runs[row.flow_id].append(_run(row, now))
    return {
        flow_id: Fares(bars=drawn(sorted(its, key=lambda run: run.id, reverse=True)), runs=counted, succeeded=good)
        for flow_id, its in runs.items()
        for counted, good in [rates[flow_id]]
    }


def _last_ten(flow_id: str) -> sa.Select[Any]:
    its = executions.c
    columns = (its.id, its.flow_id, its.state, its.open_approvals, its.created_at, its.claimed_at, its.ended_at)
    return (
        sa.select(*columns).where(its.flow_id == flow_id).order_by(its.created_at.desc()).limit(TEN).subquery().select()
    )


def _run(row: Row[Any], now: datetime) -> Run:
    spent = (row.ended_at or now) - row.claimed_at if row.claimed_at else None
    return Run(
        id=row.id,
        state=states.shown(row.state, row.open_approvals),
        final=row.ended_at is not None,
        duration_ms=None if spent is None else max(0, spent // timedelta(milliseconds=1)),
        created_at=row.created_at,
    )
