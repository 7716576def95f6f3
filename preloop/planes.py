"""A process that serves is seen by others: its row is kept fresh while it lives, and goes when it stops. Who reads it:
`preloop/steps`, before a migration takes away what older processes use."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import sqlalchemy as sa

from control.tables import planes
from kit.db import Database, Unit
from kit.observe import log

EVERY_S = 5.0
LAST_S = 2.0
"""How long taking the row away may take."""


@asynccontextmanager
async def seen(db: Database, id_: str) -> AsyncIterator[None]:
    """Keep a row fresh inside of this context; it was made when the database was opened."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_fresh, db, id_)
        try:
            yield
        finally:
            tasks.cancel_scope.cancel()
            with anyio.move_on_after(LAST_S, shield=True):
                await _try(db, lambda tx: tx.execute(sa.delete(planes).where(planes.c.id == id_)))


async def _fresh(db: Database, id_: str) -> None:
    mine = sa.update(planes).where(planes.c.id == id_)
    while True:
        await anyio.sleep(EVERY_S)
        await _try(db, lambda tx: tx.execute(mine.values(seen_at=tx.now())))


async def _try(db: Database, unit: Unit[object]) -> None:
    try:
        await db.write(unit)
    except Exception:
        log.exception("others can't be told that this process is alive")
