"""What is known of executions that wait, for whoever shows them: the facts of `waiting`, read at once for a page."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control.executions import queue, runners, waiting
from control.executions.states import Stored
from control.tables import accounts, executions
from control.tables import runners as workers
from kit.db import Database


async def reasons(db: Database, account_id: str, rows: Sequence[Row[Any]], now: datetime) -> dict[str, waiting.Waiting]:
    """Why each PENDING one of these executions waits, by id. One that somebody cancelled waits for nothing."""
    waits = [row for row in rows if row.state == Stored.PENDING and row.stop_intent is None]
    if not waits:
        return {}
    slots = (await db.read(sa.select(accounts.c.slots).where(accounts.c.id == account_id)))[0].slots
    busy = {row.flow_id: row.running for row in await db.read(queue.BUSY, {"account": account_id})}
    living = await db.read(sa.select(workers).where(workers.c.seen_at > now - runners.ALIVE))
    places = await _positions(db, account_id, waits, now)
    facts = {
        row.id: waiting.Facts(
            position=places.get(row.id, 1),
            not_before=row.not_before,
            flow_running=busy.get(row.flow_id, 0),
            concurrency=row.concurrency,
            running=sum(busy.values()),
            slots=slots,
            places=sum(worker.parallel for worker in living if worker.problem is None),
            problem=next((worker.problem for worker in living if worker.problem), None),
        )
        for row in waits
    }
    return {id_: waiting.why(its, now) for id_, its in facts.items()}


async def _positions(db: Database, account_id: str, waits: Sequence[Row[Any]], now: datetime) -> dict[str, int]:
    """The place of each among the waiting ones of its flow, those whose time hasn't come last."""
    later = sa.case((executions.c.not_before > now, executions.c.not_before), else_=None)
    order = (later.asc().nulls_first(), executions.c.created_at, executions.c.id)
    number = sa.func.row_number().over(partition_by=executions.c.flow_id, order_by=order).label("number")
    flows = executions.c.flow_id.in_({row.flow_id for row in waits})
    mine = executions.c.account_id == account_id
    line = sa.select(executions.c.id, number).where(queue.PENDING, queue.WANTED, mine, flows).subquery()
    found = await db.read(sa.select(line).where(line.c.id.in_([row.id for row in waits])))
    return {row.id: row.number for row in found}
