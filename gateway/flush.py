"""Settling: entries, their events and the end of their holds, committed together at most 100 ms after the fact.

`put` never waits; `room` does, before a request is admitted, when the database can't keep up. Nothing is dropped: what
the database would not take stays in the journal, for the next start.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio

from control import events
from control.identity import sessions
from kit.db import Database, Lane, Tx
from kit.errors import Unavailable
from kit.journal import Journal
from kit.observe import log
from ledger import book, budgets

LATE_S = 0.1
BATCH = 128
ROOM = 4096
ROOM_WAIT_S = 10.0
AGAIN_S = 1.0
SETTLED_S = 1.0
DRAIN_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """One thing to commit. With an entry it settles that attempt; without one it is an event alone, or a release."""

    account_id: str
    session_id: str
    stream: str
    type: str = ""
    data: dict[str, Any]
    entry: book.Entry | None = None
    held: bool = True  # it may have a hold to end
    release: str | None = None  # an attempt that never began

    @property
    def attempt(self) -> str | None:
        """Whose hold ends."""
        return self.entry.id if self.entry else self.release

    @property
    def cost_nano(self) -> int:
        return (self.entry.cost_nano or 0) if self.entry else 0


class Flush:
    """What waits to be committed, and the task that commits it."""

    def __init__(self, db: Database, journal: Journal) -> None:
        self._db = db
        self._journal = journal
        self._waiting: list[Happened] = []
        self._some = anyio.Event()
        self._hurry = anyio.Event()
        self._done = anyio.Event()
        self._busy = False
        self._doubtful = False

    def put(self, happened: Happened) -> None:
        self._waiting.append(happened)
        self._some.set()
        if len(self._waiting) >= BATCH:
            self._hurry.set()

    async def room(self) -> None:
        """Wait until the database kept up; Unavailable when it does not."""
        if len(self._waiting) < ROOM:
            return
        with anyio.move_on_after(ROOM_WAIT_S):
            while len(self._waiting) >= ROOM:
                await self._done.wait()
            return
        raise Unavailable("ledger_behind", "The ledger can't keep up.", "Try again in a moment.")

    async def settled(self) -> None:
        """Wait until what was put is committed, for a second at most."""
        with anyio.move_on_after(SETTLED_S):
            while self._waiting or self._busy:
                self._hurry.set()
                await self._done.wait()

    async def work(self) -> None:
        while True:
            await self._some.wait()
            with anyio.move_on_after(LATE_S):
                await self._hurry.wait()
            with anyio.CancelScope(shield=True):
                again = not await self.commit()
            if again:
                await anyio.sleep(AGAIN_S)
                self._some.set()

    async def commit(self) -> bool:
        """Commit what waits now. What the database would not take at all waits on; then False."""
        self._some, self._hurry, self._busy = anyio.Event(), anyio.Event(), True
        batch, self._waiting = self._waiting, []
        kept: list[Happened] = []
        for start in range(0, len(batch), BATCH):
            kept += await self._write(batch[start : start + BATCH], again=self._doubtful)
        self._doubtful = bool(kept)  # whether a commit that failed was one can't be known
        self._waiting = kept + self._waiting
        self._busy = False
        self._done.set()
        self._done = anyio.Event()
        return not kept

    async def _write(self, batch: list[Happened], *, again: bool) -> list[Happened]:
        """Those that must be tried again."""
        try:
            await self._db.write(unit(batch, again=again), lane=Lane.BULK)
        except Unavailable as error:
            log.error("ledger flush failed, trying again", waiting=len(batch), error=error.message)
            return batch
        except Exception:
            if len(batch) > 1:  # one of them is at fault: each on its own
                return [kept for happened in batch for kept in await self._write([happened], again=True)]
            log.exception("ledger entry refused", attempt=batch[0].data.get("attempt"), type=batch[0].type)
            return []
        for happened in batch:
            if happened.entry:
                self._journal.close(happened.entry.id)
        return []


def unit(batch: list[Happened], *, again: bool = True) -> Callable[[Tx], None]:
    """One transaction for many. Rows are taken in one order, so that two workers can't wait for each other.

    `again`: some of it may be in the ledger already.
    """
    fixed = tuple(batch)

    def commit(tx: Tx) -> None:
        new = book.append(tx, [h.entry for h in fixed if h.entry], again=again)
        fresh = [h for h in fixed if h.entry is None or h.entry.id in new]
        budgets.settle(tx, {h.attempt: h.cost_nano for h in fresh if h.attempt and h.held})
        answered = {h.session_id for h in fresh if h.entry and h.entry.status is book.Status.ANSWERED}
        for session_id in sorted(answered):
            sessions.mark_used(tx, session_id, model=True)
        told: dict[tuple[str, str], list[tuple[str, dict[str, Any]]]] = {}
        for happened in fresh:
            if happened.type:
                told.setdefault((happened.account_id, happened.stream), []).append((happened.type, happened.data))
        for (account_id, stream), its in sorted(told.items()):
            events.append_many(tx, account_id, stream, its)

    return commit


@asynccontextmanager
async def open_flush(db: Database, journal: Journal) -> AsyncIterator[Flush]:
    """Run the flush while the context is open; closing commits what waits, for at most ten seconds."""
    flush = Flush(db, journal)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(flush.work)
        try:
            yield flush
        finally:
            tasks.cancel_scope.cancel()
    with anyio.move_on_after(DRAIN_S, shield=True):
        await flush.commit()
