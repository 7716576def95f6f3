"""Messages leave: several at once, and never more than a few over one channel: one that hangs delays only itself.

Each attempt is taken from the outbox by a conditional UPDATE and has a time limit below its lease, so that several
processes may run this. What a failure means is `control/approvals`', how a channel delivers is `channels`'.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import anyio
from anyio.abc import TaskGroup
from sqlalchemy.engine import Row

from control import outbox
from control.approvals import notices
from control.approvals.desk import Desk
from control.approvals.notices import Failure, Notice
from control.executions import ended
from kit.bus import Bus
from kit.db import Database
from kit.errors import Fault, Unavailable
from kit.observe import log

LOOK_S = 1.0
"""How late an attempt may begin whose wake-up got lost."""
LIMIT_S = 45.0
"""How long one attempt may take, whatever its channel waits for."""
ABREAST = 4
"""Attempts at once over one channel."""
T = TypeVar("T")
Send = Callable[[Notice], Awaitable[None]]
"""Delivers one notice over one channel; raises a Fault when it did not arrive."""
Tell = Callable[[Row[Any]], Awaitable[None]]
"""Tells over one channel of an execution that ended, by its row of the outbox; raises as `Send` does."""


class Sender:
    """What sends the notices of one process."""

    def __init__(
        self,
        db: Database,
        bus: Bus,
        *,
        desk: Desk,
        channels: Mapping[str, Send],
        public_url: str,
        ends: Mapping[str, Tell] = MappingProxyType({}),
    ) -> None:
        self._db = db
        self._bus = bus
        self._desk = desk
        self._channels = channels
        self._ends = ends
        self._public_url = public_url
        self._under_way: Counter[str] = Counter()

    async def run(self) -> None:
        """Send what is due, for ever."""
        async with anyio.create_task_group() as lanes:
            with self._bus.watch(outbox.TOPIC) as due:
                while True:
                    try:
                        await self._start(lanes)
                    except Exception:
                        log.exception("the outbox could not be read and will be looked at again")
                    await due.changed(LOOK_S)

    async def send_due(self) -> None:
        """Send what is due now; returns when it is done."""
        async with anyio.create_task_group() as lanes:
            await self._start(lanes)

    async def _start(self, lanes: TaskGroup) -> None:
        while row := await self._db.write(lambda tx: outbox.take(tx, besides=self._full())):
            self._under_way[row.channel] += 1
            lanes.start_soon(self._lane, row)

    def _full(self) -> list[str]:
        return [channel for channel, count in self._under_way.items() if count >= ABREAST]

    async def _lane(self, first: Row[Any]) -> None:
        """One attempt after the other over one channel, until nothing of it is due."""
        channel = first.channel
        row: Row[Any] | None = first
        try:
            while row:
                await self._attempt(row)
                row = await self._db.write(lambda tx: outbox.take(tx, only=channel))
        except Exception:
            log.exception("a notice could not be sent and will be tried again", channel=channel)
        finally:
            self._under_way[channel] -= 1

    async def _attempt(self, row: Row[Any]) -> None:
        if row.topic == ended.TOPIC:
            failure = await _tried(row.channel, self._ends.get(row.channel), row)
            why, final = (failure.reason, failure.final) if failure else (None, False)
            await self._db.write(lambda tx: ended.noted(tx, row, why, final=final))
            return
        notice = await self._db.write(lambda tx: notices.compose(tx, row, self._public_url))
        if notice is not None:
            failure = await _tried(row.channel, self._channels.get(row.channel), notice)
            await self._db.write(lambda tx: self._desk.noted(tx, row, failure))


async def _tried(channel: str, send: Callable[[T], Awaitable[None]] | None, told: T) -> Failure | None:
    """How one attempt went. Only what a later one could mend is worth one."""
    if send is None:
        return Failure(reason=f"The channel {channel!r} is not in preloop.toml any more.", final=True)
    try:
        with anyio.fail_after(LIMIT_S):
            await send(told)
    except Fault as fault:
        absent = fault.code == "outbound_failed"
        return Failure(reason=fault.message, final=not isinstance(fault, Unavailable), absent=absent)
    except TimeoutError:
        return Failure(reason=f"The channel gave no answer in {LIMIT_S:g} s.", absent=True)
    except Exception as error:
        log.exception("a channel failed", channel=channel)
        return Failure(reason=f"The channel failed: {type(error).__name__}.")
    return None
