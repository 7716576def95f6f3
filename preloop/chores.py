"""What happens by the clock. Each chore is a named unit of conditional UPDATEs, so that several processes may run
it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
from anyio.abc import TaskGroup
from sqlalchemy.engine import Row

from control import events, outbox
from control.approvals import notices
from control.approvals.desk import Desk
from control.approvals.notices import Failure, Notice
from control.executions import queue
from control.executions.lifecycle import Lifecycle
from kit.bus import Bus
from kit.db import Database
from kit.errors import Fault, Unavailable
from kit.observe import log

EVERY_S = 1.0
CLIMB_S = 5.0
"""How late a reminder may be."""
SEAL_S = 60.0
"""How old the last seal of a stream may be."""
Send = Callable[[Notice], Awaitable[None]]
"""Delivers one notice over one channel; raises a Fault when it did not arrive."""


class Chores:
    """The clock's work of one process."""

    def __init__(
        self, db: Database, bus: Bus, *, desk: Desk, lifecycle: Lifecycle, channels: Mapping[str, Send], public_url: str
    ) -> None:
        self._db = db
        self._bus = bus
        self._desk = desk
        self._lifecycle = lifecycle
        self._channels = channels
        self._public_url = public_url

    def start(self, tasks: TaskGroup, adopted: anyio.Event) -> None:
        """`adopted` is set when this process's worker had its first chance to take over what was lost."""
        tasks.start_soon(self._each, "approval deadlines", self._expire)
        tasks.start_soon(self._each, "reminders", self._climb, CLIMB_S)
        tasks.start_soon(self._each, "seals", self._seal, SEAL_S)
        tasks.start_soon(self._each, "time limits", self._overdue)
        tasks.start_soon(self._sweep_after, adopted)
        tasks.start_soon(self._notify)

    async def _each(self, name: str, chore: Callable[[], Awaitable[object]], every_s: float = EVERY_S) -> None:
        while True:
            await self._try(name, chore)
            await anyio.sleep(every_s)

    async def _try(self, name: str, chore: Callable[[], Awaitable[object]]) -> None:
        try:
            await chore()
        except Exception:
            log.exception("a chore failed and will be tried again", chore=name)

    async def _expire(self) -> None:
        await self._db.write(self._desk.expire)

    async def _climb(self) -> None:
        await self._db.write(self._desk.climb)

    async def _seal(self) -> None:
        await events.seal(self._db)

    async def _overdue(self) -> None:
        await self._db.write(queue.overdue)

    async def _sweep_after(self, adopted: anyio.Event) -> None:
        await adopted.wait()
        await self._each("lost executions", self._sweep)

    async def _sweep(self) -> None:
        await self._db.write(lambda tx: queue.sweep(tx, self._lifecycle))

    async def _notify(self) -> None:
        with self._bus.watch(outbox.TOPIC) as due:
            while True:
                await self._try("notices", self.send_due)
                await due.changed(EVERY_S)

    async def send_due(self) -> None:
        while row := await self._db.write(outbox.take):
            await self._attempt(row)

    async def _attempt(self, row: Row[Any]) -> None:
        notice = await self._db.write(lambda tx: notices.compose(tx, row, self._public_url))
        if notice is not None:
            failure = await self._send(notice)
            await self._db.write(lambda tx: self._desk.noted(tx, row, failure))

    async def _send(self, notice: Notice) -> Failure | None:
        """Only what a later attempt could mend is worth one."""
        send = self._channels.get(notice.channel)
        if send is None:
            return Failure(reason=f"The channel {notice.channel!r} is not in preloop.toml any more.", final=True)
        try:
            await send(notice)
        except Fault as fault:
            return Failure(reason=fault.message, final=not isinstance(fault, Unavailable))
        return None
