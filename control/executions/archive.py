"""Lines of long logs that are over, out of the database and into blobs of the far store; their numbers stay in rows.

A part is stored first, then one unit puts one row in the place of its chunks. Who dies between does it again; who lost
against another process takes back what nobody names. Only counted executions are looked at: nothing writes much there.
"""

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control.executions import logs
from control.tables import executions, log_chunks
from kit.blobs import Blobs
from kit.db import READ_LIMIT, Database, Lane, Tx, octets
from kit.errors import Conflict

LEAST = 1 << 20
"""Bytes; shorter logs stay where they are (`ix_executions_large_logs`)."""
PART = 256 << 10
"""Bytes of lines after which a part ends: what a reader of one page waits for."""
BATCH = 20
EMPTY = "[]"
"""What stands where lines were, also for a process that does not know that they are moved."""


async def move_due(db: Database, blobs: Blobs, least: int = LEAST) -> int:
    """Move the logs of so many bytes, output and lines together; returns how many. Unavailable when the store is."""
    moved = 0
    while blobs.far and (rows := await db.read(_due(least))):
        done = [row.id for row in rows if await _move_all(db, blobs, row.id)]
        if not done:  # others are at them
            break
        await db.write(partial(_mark, ids=done), lane=Lane.BULK)
        moved += len(done)
    return moved


def _due(least: int) -> sa.Select[Any]:
    large = sa.text(f"log_bytes >= {LEAST} AND logs_moved_at IS NULL AND logs_deleted_at IS NULL")
    over = (executions.c.log_bytes >= max(LEAST, least)) & executions.c.counted_at.is_not(None)
    return sa.select(executions.c.id).where(large, over).order_by(executions.c.ended_at).limit(BATCH)


def _mark(tx: Tx, *, ids: Sequence[str]) -> None:
    tx.execute(sa.update(executions).where(executions.c.id.in_(ids)).values(logs_moved_at=tx.now()))


async def _move_all(db: Database, blobs: Blobs, execution_id: str) -> bool:
    """False where somebody else is at it, or it was deleted meanwhile: then it is looked at again later."""
    try:
        while await _move(db, blobs, execution_id):
            pass
    except Conflict:
        return False
    return True


async def _move(db: Database, blobs: Blobs, execution_id: str) -> bool:
    """One part; False when there is no more."""
    its = log_chunks.c
    here = (its.execution_id == execution_id) & its.moved_bytes.is_(None)
    sized = sa.select(its.first, its["count"].label("count_"), octets(its.lines).label("size")).where(here)
    rows = _together(await db.read(sized.order_by(its.first).limit(READ_LIMIT)))
    if not rows:
        return False
    first, count = rows[0].first, sum(row.count_ for row in rows)
    found = await db.read(
        sa.select(its.first, its.lines, its.cursor).where(here, its.first.between(first, rows[-1].first))
    )
    chunks = sorted(found, key=lambda row: int(row.first))
    lines = [line for row in chunks for line in json.loads(row.lines)]
    content, name = json.dumps(lines, ensure_ascii=False).encode(), logs.part_of(execution_id, first, count)
    if len(lines) != count or blobs.far is None:
        raise Conflict("log_moved", "Somebody else moved or deleted these lines.")
    await blobs.far.take(name, content)
    cursor = next((row.cursor for row in reversed(chunks) if row.cursor is not None), None)
    told = {"count": count, "lines": EMPTY, "moved_bytes": len(content), "cursor": cursor}
    try:
        await db.write(partial(_swap, here=here, rows=rows, told=told), lane=Lane.BULK)
    except Conflict:
        mine = (its.execution_id == execution_id) & (its.first == first) & (its["count"] == count)
        if not await db.read(sa.select(its.first).where(mine, its.moved_bytes.is_not(None))):
            await blobs.far.delete([name])
        raise
    return True


def _together(rows: Sequence[Row[Any]]) -> Sequence[Row[Any]]:
    """Those from the first on that follow each other without a gap, up to the one that fills a part."""
    size = 0
    for number, row in enumerate(rows):
        if number and (size >= PART or row.first != rows[number - 1].first + rows[number - 1].count_):
            return rows[:number]
        size += row.size
    return rows


def _swap(tx: Tx, *, here: sa.ColumnElement[bool], rows: Sequence[Row[Any]], told: dict[str, Any]) -> None:
    """One row in the place of some; Conflict where they are not all there any more."""
    first = log_chunks.c.first
    others = here & first.between(rows[0].first + 1, rows[-1].first)
    gone = tx.execute(sa.delete(log_chunks).where(others)).rowcount
    changed = tx.changed(sa.update(log_chunks).where(here, first == rows[0].first).values(told))
    if gone != len(rows) - 1 or not changed:
        raise Conflict("log_moved", "Somebody else moved or deleted these lines.")
