"""What other processes did to the calls that wait here: one look for all of them each second.

In this process the bus wakes whoever waits. A change made elsewhere (a decision on another machine, a revoked session)
is seen here and published as if it had been made here, so that no waiter reads the database by a clock of its own.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial

import anyio
import sqlalchemy as sa

from control.executions import toolcalls, unattended
from control.identity import sessions
from control.tables import sessions as runtime
from control.tables import tool_calls
from kit.bus import Bus
from kit.db import READ_LIMIT, Database
from kit.observe import log

LOOK_S = 1.0
TELL_S = 30.0
"""How often it is written down for which calls somebody listens."""


class Lookout:
    """The calls and sessions of one process that somebody waits for."""

    def __init__(self, db: Database, bus: Bus) -> None:
        self._db = db
        self._bus = bus
        self._calls: Counter[str] = Counter()
        self._sessions: Counter[str] = Counter()
        self._seen: dict[str, str] = {}
        self._polled: set[str] = set()
        self._told = -math.inf
        self._wrote = self._began = datetime.now(UTC)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await anyio.sleep(LOOK_S)
            try:
                await self.look()
                if anyio.current_time() >= self._told + TELL_S:
                    self._told = anyio.current_time()
                    await self.tell()
            except Exception:
                log.exception("a look at waiting calls failed and will be repeated")

    def follows(self, call_id: str) -> bool:
        return call_id in self._calls

    @contextmanager
    def attend(self, session_id: str) -> Iterator[None]:
        """Somebody wants to hear of this session's end inside of this context."""
        self._sessions[session_id] += 1
        try:
            yield
        finally:
            _less(self._sessions, session_id)

    @contextmanager
    def follow(self, call_id: str, session_id: str) -> Iterator[None]:
        """Somebody waits for this call inside of this context."""
        self._calls[call_id] += 1
        try:
            with self.attend(session_id):
                yield
        finally:
            _less(self._calls, call_id)
            self._polled.add(call_id)  # whoever comes again and again listens too
            if call_id not in self._calls:
                self._seen.pop(call_id, None)

    def polled(self, call_id: str) -> None:
        """Whoever waits for this call asked for it just now, and will again."""
        self._polled.add(call_id)

    async def tell(self) -> None:
        """Write down what is listened for, then ask for the end of runs whose agent listens no more."""
        now = datetime.now(UTC)
        if now - self._wrote > timedelta(seconds=2 * TELL_S):
            self._began = now  # the database was away or the machine asleep: nobody knows who listened meanwhile
        listened, self._polled = list({*self._calls, *self._polled}), set()
        for batch in _batches(listened):
            await self._db.write(partial(unattended.attend, call_ids=batch))
        await self._db.write(partial(unattended.end, since=self._began))
        self._wrote = now

    def note(self, call_id: str, status: str) -> None:
        """A waiter read this status; others who wait for the call hear of it if it is news."""
        if self._seen.setdefault(call_id, status) != status:
            self._seen[call_id] = status
            self._bus.publish(toolcalls.topic(call_id))

    async def look(self) -> None:
        """Publish what is not as a waiter read it."""
        for batch in _batches(list(self._calls)):
            found = sa.select(tool_calls.c.id, tool_calls.c.status).where(tool_calls.c.id.in_(batch))
            for row in await self._db.read(found):
                if row.id in self._seen:
                    self.note(row.id, row.status)
        for batch in _batches(list(self._sessions)):
            over = runtime.c.revoked_at.is_not(None) | (runtime.c.alive_until < datetime.now(UTC))
            for row in await self._db.read(sa.select(runtime.c.id).where(runtime.c.id.in_(batch), over)):
                self._bus.publish(sessions.topic(row.id))


def _less(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), READ_LIMIT):
        yield ids[start : start + READ_LIMIT]
