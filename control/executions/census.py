"""How many executions of a whole plane there are in each state that isn't an end, and how long one waits already."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from control.executions import queue
from control.tables import executions
from kit.db import Database

_MAY = queue.WANTED & (executions.c.not_before.is_(None) | (executions.c.not_before <= sa.bindparam("now")))
_SINCE = sa.func.coalesce(executions.c.not_before, executions.c.created_at, type_=executions.c.created_at.type)
_OLDEST = sa.func.min(sa.case((_MAY, _SINCE)), type_=executions.c.created_at.type)
_WAITS = sa.select(sa.func.count().label("pending"), _OLDEST.label("oldest")).where(queue.PENDING)
_ASKS = sa.func.sum(sa.case((executions.c.open_approvals > 0, 1), else_=0))
_RUNS = sa.select(sa.func.count().label("held"), sa.func.coalesce(_ASKS, 0).label("asking")).where(queue.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """Of all accounts. `oldest` is since when the one waits that waits longest and may start."""

    pending: int
    running: int
    waiting_for_approval: int
    oldest: datetime | None


async def census(db: Database, now: datetime) -> Census:
    waits = (await db.read(_WAITS, {"now": now}))[0]
    runs = (await db.read(_RUNS))[0]
    asking = int(runs.asking)
    return Census(pending=waits.pending, running=runs.held - asking, waiting_for_approval=asking, oldest=waits.oldest)
