"""What the clock takes by a flow's own retention: of each execution from when it is due, class by class. The account's
rules take the rest, or the same earlier; which version of the flow ran says how long.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control.executions import storage
from control.executions.storage import DELETED, Kind
from control.retention import deletion
from control.tables import executions
from kit.blobs import Blobs
from kit.db import Database, Lane, Tx

BATCH = 50
"""Executions that one look brings."""


async def delete_due(db: Database, blobs: Blobs, now: datetime) -> int:
    """One pass over what is due; how much went, where a class of one execution is one."""
    taken = 0
    due = sa.select(executions).where(executions.c.due_at <= now).order_by(executions.c.due_at).limit(BATCH)
    while rows := await db.read(due):
        for row in rows:
            kinds = [kind for kind, at in _times(row).items() if at <= now]
            for kind in kinds:
                taken += await _delete(db, row, kind)
            if not await deletion.forget(blobs, [row.id], kinds):
                return taken  # the next pass asks again
            await db.write(partial(_next, row=row, now=now), lane=Lane.BULK)
    return taken


def _times(row: Row[object]) -> Mapping[Kind, datetime]:
    """When each class that the flow names is due."""
    return {Kind(kind): row.ended_at + timedelta(days=days) for kind, days in json.loads(row.keeps).items()}


async def _delete(db: Database, row: Row[object], kind: Kind) -> bool:
    lost = False
    while True:
        went, emptied = await db.write(partial(_drop, row=row, kind=kind), lane=Lane.BULK)
        lost |= went
        if not emptied:
            return lost


def _drop(tx: Tx, *, row: Row[object], kind: Kind) -> tuple[bool, int]:
    """Was it there, and how many rows of it were taken now."""
    why = f"retention.{kind}_days = {json.loads(row.keeps)[kind]} of the flow {row.flow_name}"
    size = deletion.mark(tx, row.account_id, row.id, kind, why)
    if size:
        storage.add(tx, row.account_id, kind, -size)
    return size is not None, deletion.empty(tx, row.id, kind, deletion.ROWS)


def _next(tx: Tx, *, row: Row[object], now: datetime) -> None:
    later = [at for kind, at in _times(row).items() if at > now and getattr(row, DELETED[kind]) is None]
    mine = sa.update(executions).where(executions.c.id == row.id)
    tx.execute(mine.values(due_at=min(later) if later else None))
