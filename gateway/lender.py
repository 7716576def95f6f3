"""Gets a process its leases of the budgets, and gives back what no call needs: the only part that waits for their rows.

Calls ask and wait; one task answers all that wait with one transaction. What lies idle goes back within a quarter of a
second, and what is in use but free goes back when a worker elsewhere found no room. Neighbours: `ledger/purse` counts
in memory, `ledger/budgets` moves the rows, `holds` asks.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

import anyio
import sqlalchemy as sa

from kit.clock import Clock
from kit.db import Database, Tx
from kit.errors import Fault, Unavailable
from kit.observe import log
from ledger import budgets
from ledger import tables as ledger_tables
from ledger.budgets import Exhausted
from ledger.limits import Budget
from ledger.purse import Part, Purse, Want

LOOK_S = 0.1
"""Between two looks for what lies idle: what was not used between two of them goes back."""
PRESSED_S = 1.0
"""How long after somebody found no room we take no more than what waits."""
READ_MOST = 400


@dataclass(slots=True, eq=False, kw_only=True)
class _Ask:
    account_id: str
    budgets: tuple[Budget, ...]
    amount_nano: int
    done: anyio.Event = field(default_factory=anyio.Event)
    outcome: Exhausted | Fault | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Calls that wait for the same budgets."""

    asks: tuple[_Ask, ...]
    wants: list[Want]
    exactly: bool

    @property
    def account_id(self) -> str:
        return self.asks[0].account_id


class Lender:
    """The leases of one process. `worker` is the name of its journal: that is how others learn that it died."""

    def __init__(self, *, db: Database, purse: Purse, worker: str, clock: Clock) -> None:
        self._db = db
        self._purse = purse
        self._worker = worker
        self._clock = clock
        self._asks: list[_Ask] = []
        self._some = anyio.Event()
        self._filled = anyio.Event()
        self._returning = anyio.Lock()
        self._pressed: dict[tuple[str, str], tuple[datetime | None, float]] = {}

    async def ask(self, account_id: str, against: tuple[Budget, ...], amount_nano: int) -> Exhausted | None:
        """Have leases cut so that a call of this amount may find room; None: look again. A Fault when the database does
        not answer."""
        ask = _Ask(account_id=account_id, budgets=against, amount_nano=amount_nano)
        self._asks.append(ask)
        self._some.set()
        await ask.done.wait()
        if isinstance(ask.outcome, Fault):
            raise ask.outcome
        return ask.outcome

    async def work(self) -> None:
        while True:
            await self._some.wait()
            self._some = anyio.Event()
            asks, self._asks = self._asks, []
            try:
                with anyio.CancelScope(shield=True):
                    await self._serve(asks)
            except Exception as error:
                log.exception("leases could not be taken", waiting=len(asks))
                for ask in asks:
                    ask.outcome = _behind(error)
            finally:
                for ask in asks:
                    ask.done.set()

    async def look(self) -> None:
        """Give back what lies idle, and what others wait for."""
        while True:
            await self._filled.wait()
            self._filled = anyio.Event()
            while self._purse.leased:
                await anyio.sleep(LOOK_S)
                with anyio.CancelScope(shield=True):
                    await self._look()

    async def return_all(self) -> None:
        """Give back what is free, and wait for what is on its way."""
        await self._give_back(self._purse.surrender())

    async def _serve(self, asks: Sequence[_Ask]) -> None:
        groups = self._groups(asks)
        if not groups:
            return

        def take(tx: Tx) -> list[list[Part] | Exhausted]:
            return [budgets.take(tx, self._worker, g.account_id, g.wants, exactly=g.exactly) for g in groups]

        for group, taken in zip(groups, await self._db.write(take), strict=True):
            if isinstance(taken, Exhausted):
                for ask in group.asks:
                    ask.outcome = taken
            else:
                for part in taken:
                    self._purse.add(part.account_id, part.budget, part.amount_nano)
                self._filled.set()

    def _groups(self, asks: Sequence[_Ask]) -> list[_Group]:
        found: dict[tuple[str, ...], list[_Ask]] = {}
        for ask in asks:
            found.setdefault((ask.account_id, *(budget.key for budget in ask.budgets)), []).append(ask)
        now, groups = self._clock.monotonic(), []
        for its in found.values():
            first = its[0]
            wants = self._purse.wants(first.account_id, first.budgets, [ask.amount_nano for ask in its])
            exactly = any(self._is_pressed(first.account_id, want.budget.key, now) for want in wants)
            if wants:
                groups.append(_Group(asks=tuple(its), wants=wants, exactly=exactly))
        return groups

    def _is_pressed(self, account_id: str, key: str, now: float) -> bool:
        return self._pressed.get((account_id, key), (None, 0))[1] > now

    async def _look(self) -> None:
        try:
            await self._give_back(self._purse.idle())
            pressed = await self._wanted_elsewhere(self._purse.busy())
            await self._give_back(self._purse.surrender(pressed))
        except Exception:
            log.exception("leases could not be given back")

    async def _wanted_elsewhere(self, busy: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """Those of our leases of whose budget somebody has found too little since we last looked."""
        table, now, found = ledger_tables.budgets, self._clock.monotonic(), []
        for start in range(0, len(busy), READ_MOST):
            part = busy[start : start + READ_MOST]
            mine = sa.tuple_(table.c.account_id, table.c.key).in_(part)
            for row in await self._db.read(sa.select(table.c.account_id, table.c.key, table.c.wanted_at).where(mine)):
                place = (row.account_id, row.key)
                if row.wanted_at is not None and row.wanted_at != self._pressed.get(place, (None, 0))[0]:
                    self._pressed[place] = (row.wanted_at, now + PRESSED_S)
                    found.append(place)
        return found

    async def _give_back(self, parts: Sequence[Part]) -> None:
        """What the database did not take is ours again; when that is not known it is not, which is the safe side."""
        async with self._returning:  # taken with nothing to give, too: that is how `return_all` waits for the others
            if not parts:
                return
            try:
                await self._db.write(lambda tx: budgets.give_back(tx, self._worker, parts))
            except Exception as error:
                if getattr(error, "code", "") != "commit_unknown":
                    for part in parts:
                        self._purse.add(part.account_id, part.budget, part.amount_nano)
                raise

    async def end(self) -> bool:
        """Give everything back; whether the database took it."""
        try:
            await self._db.write(lambda tx: budgets.release_of(tx, self._worker))
        except Exception:
            log.exception("leases could not be given back", worker=self._worker)
            return False
        return True


def _behind(error: Exception) -> Fault:
    if isinstance(error, Fault):
        return error
    return Unavailable("budgets_behind", "The budgets can't be asked now.", "Try again in a moment.")


@asynccontextmanager
async def open_lender(lender: Lender) -> AsyncIterator[None]:
    """Run it while the context is open."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lender.work)
        tasks.start_soon(lender.look)
        try:
            yield
        finally:
            tasks.cancel_scope.cancel()
