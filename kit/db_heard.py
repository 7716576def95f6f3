"""A store as a process uses it: how long each write took is measured, and what a unit left for others is handed on.

A unit leaves it in a list under a key of `Tx.memo`; it goes to `then` after the commit, once, however often the unit
was repeated. Without anybody who listens there is no list.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Row

from kit.db import Database, Lane, Tx, Unit
from kit.metrics import Histogram

T = TypeVar("T")
WRITES = Histogram("preloop_db_write_seconds", "From asking for a write to its commit, waits included.", "lane")


class Heard:
    """Passes everything on to the store it was made with."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._key = ""
        self._then: Callable[[list[Any]], None] | None = None

    def listen(self, key: str, then: Callable[[list[Any]], None] | None) -> None:
        """From now on hand what units leave under `key` to `then`, which may not wait; None ends it."""
        self._key, self._then = key, then

    async def write(self, unit: Unit[T], *, lane: Lane = Lane.DECISIONS) -> T:
        began = time.monotonic()
        try:
            if self._then is None:
                return await self._db.write(unit, lane=lane)
            value, left = await self._db.write(lambda tx: self._noted(tx, unit), lane=lane)
        finally:
            WRITES.observe(time.monotonic() - began, lane)
        if left and self._then is not None:
            self._then(left)
        return value

    def _noted(self, tx: Tx, unit: Unit[T]) -> tuple[T, list[Any]]:
        left: list[Any] = []
        tx.memo[self._key] = left
        return unit(tx), left

    async def read(self, statement: sa.Executable, parameters: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        return await self._db.read(statement, parameters)

    async def hear(self) -> None:
        await self._db.hear()

    async def close(self) -> None:
        await self._db.close()
