"""Wake-ups between processes that share a PostgreSQL database, by LISTEN and NOTIFY: names of topics and no data.

What is published while one NOTIFY is under way goes with the next, so a busy process sends few of them: each takes a
lock that all commits of the server share. Nothing depends on them. Whoever waits looks again by itself, which is how
it goes while the connection is lost, and always where the database's address is a transaction pooler's, which delivers
none.
"""

import secrets
from collections.abc import Iterable

import anyio
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from kit.bus import Bus
from kit.metrics import Counter
from kit.observe import log

CHANNEL = "preloop"
MOST = 7900
"""Bytes of one NOTIFY; PostgreSQL takes fewer than 8000."""
KEPT = 2000
"""Topics that wait to be sent; with more of them everybody looks at everything."""
ALL = "*"
AGAIN_S = 1.0
"""After the connection was lost."""
POOLER_AGAIN_S = 300.0
"""After nothing came through."""
PROBE_S = 5.0
"""How long our own first NOTIFY may take to come back."""
_SENT = sa.text("SELECT pg_notify(:channel, :payload)")
_heard = Counter("preloop_wakeups_heard_total", "Wake-ups of other processes that came by LISTEN.")
_sent = Counter("preloop_wakeups_sent_total", "Wake-ups sent to other processes by NOTIFY.")


class Notifier:
    """Between one process's bus and the others'. `engine` sends, `listening` makes the connection that hears."""

    def __init__(self, engine: AsyncEngine, listening: AsyncEngine, bus: Bus) -> None:
        self._engine = engine
        self._listening = listening
        self._bus = bus
        self._own = secrets.token_hex(8)
        self._open = False
        self._topics: dict[str, None] = {}
        self._news = anyio.Event()
        self._through = anyio.Event()

    def tell(self, topics: Iterable[str]) -> None:
        """Send these to the others soon; nothing while `run` doesn't."""
        if not self._open:
            return
        self._topics.update(dict.fromkeys(topics))
        if len(self._topics) > KEPT:
            self._topics = {ALL: None}
        if self._topics:
            self._news.set()

    async def run(self) -> None:
        """Until cancelled."""
        self._open = True
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._send)
                await self._listen()
        finally:
            self._open = False

    async def _send(self) -> None:
        while True:
            await self._news.wait()
            self._news = anyio.Event()
            taken, self._topics = list(self._topics), {}
            try:
                for payload in payloads(self._own, taken):
                    await self._notify(payload)
                _sent.add(by=len(taken))
            except (OSError, SQLAlchemyError) as lost:
                log.warning("others were not woken, and look by themselves", reason=str(lost))
                await anyio.sleep(AGAIN_S)

    async def _notify(self, payload: str) -> None:
        with anyio.CancelScope(shield=True):  # a connection of the pool is given back whole
            async with self._engine.begin() as connection:
                await connection.execute(_SENT, {"channel": CHANNEL, "payload": payload})

    async def _listen(self) -> None:
        while True:
            again_s = AGAIN_S
            try:
                again_s = await self._connected()
            except (OSError, SQLAlchemyError) as lost:
                log.warning("wake-ups of other processes are not heard, and are looked for", reason=str(lost))
            await anyio.sleep(again_s)

    async def _connected(self) -> float:
        """Listen until the connection is lost; how long to wait before the next try."""
        with anyio.CancelScope(shield=True):  # one that is cancelled here would stay open
            connection = await self._listening.connect()
        try:
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None
            gone, self._through = anyio.Event(), anyio.Event()
            driver.add_termination_listener(lambda _: gone.set())
            await driver.add_listener(CHANNEL, lambda _, __, ___, payload: self._hear(payload))
            await self._notify(self._own)  # by another connection, as everybody else's come
            with anyio.move_on_after(PROBE_S):
                await self._through.wait()
            if not self._through.is_set():
                log.warning("NOTIFY does not come through: the database's address may be a transaction pooler's")
                return POOLER_AGAIN_S
            self._bus.publish_all()  # what was missed until now
            await gone.wait()
        finally:
            with anyio.CancelScope(shield=True):
                await connection.close()
        log.warning("the connection that listens was lost")
        return AGAIN_S

    def _hear(self, payload: str) -> None:
        sender, *topics = payload.split("\n")
        if sender == self._own:
            self._through.set()
            return
        _heard.add(by=len(topics))
        for topic in topics:
            if topic == ALL:
                self._bus.publish_all()
            else:
                self._bus.publish(topic)


def payloads(sender: str, topics: Iterable[str]) -> Iterable[str]:
    """One line each, of as many as fit into one NOTIFY. A name that fits into none, or has a line's end, wakes all."""
    lines, size = [sender], len(sender)
    for topic in topics:
        name = topic if "\n" not in topic and len(topic.encode()) < MOST // 2 else ALL
        if size + 1 + len(name.encode()) > MOST:
            yield "\n".join(lines)
            lines, size = [sender], len(sender)
        lines.append(name)
        size += 1 + len(name.encode())
    if len(lines) > 1:
        yield "\n".join(lines)
