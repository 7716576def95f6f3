"""How often something may happen in a minute, for processes that share a database: each takes slices of the minute's
allowance from a row and counts them down in memory, so that together they never let through more.

What is left of a slice is worth nothing in the next minute. A process by itself counts in memory alone (`Own`).
Neighbours: `kit/limits` counts in one process, `control/tables` has the rows.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import anyio
import sqlalchemy as sa

from control.tables import paces
from kit.clock import Clock
from kit.db import Database, Tx
from kit.limits import Pace

SHARE = 10
"""A slice is a tenth of the minute's allowance: what a process may hold and not use."""
KEPT = 5
"""Minutes whose rows stay: clocks of processes differ by less."""


class Rate(Protocol):
    """So many a minute, for each key of an account by itself."""

    async def take(self, account_id: str, key: str) -> float:
        """Use one: 0, or the seconds until there is one again. A Fault when the database does not answer."""


Rates = Callable[[str, int], Rate]
"""What is paced, by a name of its own, and how often it may happen in a minute; its rate."""


class Own:
    """Counted in this process."""

    def __init__(self, most: int) -> None:
        self._pace = Pace(burst=most, every_s=60 / most)

    async def take(self, account_id: str, key: str) -> float:
        whole = f"{account_id} {key}"
        return 0.0 if self._pace.take(whole) else self._pace.wait_s(whole)


@dataclass(slots=True, eq=False)
class _Slice:
    left: int = 0
    over: bool = False
    """The minute has no more."""
    asking: anyio.Lock = field(default_factory=anyio.Lock)


class Shared:
    """Counted with all processes of a database, minute by minute of UTC."""

    def __init__(self, db: Database, name: str, most: int, clock: Clock | None = None) -> None:
        self._db = db
        self._name = name
        self._most = most
        self._clock = clock or Clock()
        self._minute = 0
        self._slices: dict[tuple[str, str], _Slice] = {}

    async def take(self, account_id: str, key: str) -> float:
        while True:
            mine = await self._slice(account_id, key)
            if mine.left:
                mine.left -= 1
                return 0.0
            if mine.over:
                return 60 - self._clock.now().timestamp() % 60
            await self._fill(mine, account_id, key)

    async def _slice(self, account_id: str, key: str) -> _Slice:
        minute = int(self._clock.now().timestamp() // 60)
        if minute > self._minute:  # a clock that goes back stays in the minute it knew
            self._minute, self._slices = minute, {}
            old = sa.delete(paces).where(paces.c.minute < minute - KEPT)
            await self._db.write(lambda tx: tx.execute(old))
        return self._slices.setdefault((account_id, key), _Slice())

    async def _fill(self, mine: _Slice, account_id: str, key: str) -> None:
        """One of those that wait asks for all of them."""
        async with mine.asking:
            if mine.left or mine.over:
                return
            place: dict[str, str | int] = {
                "account_id": account_id,
                "key": f"{self._name} {key}",
                "minute": self._minute,
            }
            size = await self._db.write(lambda tx: _cut(tx, place, self._most))
            mine.left, mine.over = size, not size


def _cut(tx: Tx, place: dict[str, str | int], most: int) -> int:
    """A slice of what the minute has left; 0 when that is nothing."""
    tx.execute(tx.insert(paces).values(place).on_conflict_do_nothing())
    its = [paces.c[name] == value for name, value in place.items()]
    taken: int = tx.execute(sa.select(paces.c.taken).where(*its).with_for_update()).scalar_one()
    size = max(0, min(max(1, most // SHARE), most - taken))
    tx.execute(sa.update(paces).where(*its).values(taken=paces.c.taken + size))
    return size


def rates(db: Database, *, shared: bool) -> Rates:
    """Of processes that share the database, or of one by itself."""
    return (lambda name, most: Shared(db, name, most)) if shared else (lambda name, most: Own(most))
