"""What happens by the clock. Each chore is a named unit of conditional UPDATEs, so that several processes may run
it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
from anyio.abc import TaskGroup
from sqlalchemy.engine import Row

from control import outbox
from control.approvals import notices
from control.approvals.desk import Desk
from control.approvals.notices import Notice
from control.executions import queue
from control.executions.lifecycle import Lifecycle
from kit.bus import Bus
from kit.db import Database
from kit.errors import Fault
from kit.observe import log

EVERY_S = 1.0
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
        tasks.start_soon(self._each_second, "approval deadlines", self._expire)
        tasks.start_soon(self._each_second, "time limits", self._overdue)
        tasks.start_soon(self._sweep_after, adopted)
        tasks.start_soon(self._notify)

    async def _each_second(self, name: str, chore: Callable[[], Awaitable[object]]) -> None:
        while True:
            await self._try(name, chore)
            await anyio.sleep(EVERY_S)

    async def _try(self, name: str, chore: Callable[[], Awaitable[object]]) -> None:
        try:
            await chore()
        except Exception:
            log.exception("a chore failed and will be tried again", chore=name)

    async def _expire(self) -> None:
        await self._db.write(self._desk.expire)

    async def _overdue(self) -> None:
        await self._db.write(queue.overdue)

    async def _sweep_after(self, adopted: anyio.Event) -> None:
        await adopted.wait()
        await self._each_second("lost executions", self._sweep)

    async def _sweep(self) -> None:
        await self._db.write(lambda tx: queue.sweep(tx, self._lifecycle))

    async def _notify(self) -> None:
        with self._bus.watch(outbox.TOPIC) as due:
            while True:
                await self._try("notices", self._send_due)
                await due.changed(EVERY_S)

    async def _send_due(self) -> None:
        while row := await self._db.write(outbox.take):
            await self._attempt(row)

    async def _attempt(self, row: Row[Any]) -> None:
        notice = await self._db.write(lambda tx: notices.compose(tx, row, self._public_url))
        if notice is not None:
            error = await self._send(notice)
            await self._db.write(lambda tx: notices.outcome(tx, row, error))

    async def _send(self, notice: Notice) -> str | None:
        send = self._channels.get(notice.channel)
        if send is None:
            return f"The channel {notice.channel!r} is not in preloop.toml any more."
        try:
            await send(notice)
        except Fault as fault:
            return fault.message
        return None
