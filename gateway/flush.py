"""Settling: entries, their events and what they move in budgets, committed together at most 100 ms after the fact.

`put` never waits; `room` does, before a request is admitted, when the database can't keep up. Nothing is dropped: what
the database would not take stays in the journal, for the next start.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from msgspec import Struct

from control import events
from control.identity import sessions
from kit.db import Database, Lane, Tx
from kit.errors import Unavailable
from kit.journal import Journal
from kit.observe import log
from ledger import book, budgets
from ledger.limits import Charge

LATE_S = 0.1
BATCH = 512
ROOM = 4096
ROOM_WAIT_S = 10.0
AGAIN_S = 1.0
SETTLED_S = 1.0
DRAIN_S = 10.0


class Happened(Struct, frozen=True, kw_only=True):
    """One thing to commit. With an entry it settles that attempt and moves `charges`; without one it is an event alone,
    or the end of an attempt that was never made."""

    account_id: str
    session_id: str
    stream: str
    type: str = ""
    data: dict[str, Any]
    entry: book.Entry | None = None
    charges: tuple[Charge, ...] = ()
    unmade: str | None = None

    @property
    def attempt(self) -> str | None:
        """Which attempt is over with this."""
        return self.entry.id if self.entry else self.unmade


class Flush:
    """What waits to be committed, and the task that commits it."""

    def __init__(self, db: Database, journal: Journal, *, strict: bool = False) -> None:
        self._db = db
        self._journal = journal
        self._strict = strict
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

    async def intend(self, attempt_id: str, body: str) -> None:
        """Commit that an attempt is about to be made. The database's writer gathers those of many calls."""
        await self._db.write(lambda tx: book.intend(tx, self._journal.name, attempt_id, body))

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
            commit = unit(batch, worker=self._journal.name, again=again, strict=self._strict)
            await self._db.write(commit, lane=Lane.BULK)
        except Unavailable as error:
            log.error("ledger flush failed, trying again", waiting=len(batch), error=error.message)
            return batch
        except Exception:
            if len(batch) > 1:  # one of them is at fault: each on its own
                return [kept for happened in batch for kept in await self._write([happened], again=True)]
            log.exception("ledger entry refused", attempt=batch[0].data.get("attempt"), type=batch[0].type)
            return []
        try:
            self._journal.close(*(happened.attempt for happened in batch if happened.attempt))
        except OSError as error:  # an attempt is in the ledger once, whoever finds it in the journal
            log.error("journal can't be written", error=str(error))
        return []


def unit(batch: list[Happened], *, worker: str, again: bool = True, strict: bool = True) -> Callable[[Tx], None]:
    """One transaction for many. Rows are taken in one order, so that two workers can't wait for each other.

    `worker` is who held for these attempts. `again`: some of it may be in the ledger already. `strict`: there may be
    intents of them.
    """
    fixed = tuple(batch)

    def commit(tx: Tx) -> None:
        new = book.append(tx, [h.entry for h in fixed if h.entry], again=again)
        fresh = [h for h in fixed if h.entry is None or h.entry.id in new]
        crossed = budgets.charge(tx, worker, [(h.account_id, charge) for h in fresh for charge in h.charges])
        if strict:
            book.intended(tx, [h.attempt for h in fixed if h.attempt])
        answered = {h.session_id for h in fresh if h.entry and h.entry.status is book.Status.ANSWERED}
        for session_id in sorted(answered):
            sessions.mark_used(tx, session_id, model=True)
        told: dict[tuple[str, str], list[tuple[str, dict[str, Any]]]] = {}
        for happened in fresh:
            if happened.type:
                told.setdefault((happened.account_id, happened.stream), []).append((happened.type, happened.data))
        for crossing in crossed:
            stream = next(h.stream for h in reversed(fresh) if _charged(h, crossing))
            told.setdefault((crossing.account_id, stream), []).append(("budget.soft_limit", _crossed(crossing)))
        for (account_id, stream), its in sorted(told.items()):
            events.append_many(tx, account_id, stream, its)

    return commit


def _charged(happened: Happened, crossing: budgets.Crossing) -> bool:
    keys = (charge.budget.key for charge in happened.charges)
    return happened.account_id == crossing.account_id and crossing.budget.key in keys


def _crossed(crossing: budgets.Crossing) -> dict[str, Any]:
    budget = crossing.budget
    return {
        "scope": budget.scope,
        "subject": budget.subject,
        "period": budget.period,
        "window": budget.window,
        "limit_nano": budget.limit_nano,
        "spent_nano": crossing.spent_nano,
    }


@asynccontextmanager
async def open_flush(db: Database, journal: Journal, *, strict: bool = False) -> AsyncIterator[Flush]:
    """Run the flush while the context is open; closing commits what waits, for at most ten seconds."""
    flush = Flush(db, journal, strict=strict)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(flush.work)
        try:
            yield flush
        finally:
            tasks.cancel_scope.cancel()
    with anyio.move_on_after(DRAIN_S, shield=True):
        await flush.commit()
