"""`/api/v1/live`: one WebSocket that says what changed and brings the lines of a log, for whoever is signed in.

In: `{"watch": "exe_…", "after": 12, "log": 340}`, or `{"watch": "executions"}`, or `{"watch": "approvals"}`. A number
left out is 0, so that everything is sent; `null` begins with what comes next. Out, each naming its `watch`:
`watching` once; then events as `{"seq", "type", "at", "data"}`; `log` with numbered `lines`; `changed` for a list;
`error`. Who reconnects with the last numbers misses nothing. What a page shows is fetched anew from its own route.

Nothing is queued: each watch is a cursor that reads on after a wake-up, at the latest each second.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import anyio
import sqlalchemy as sa
from anyio.abc import TaskGroup
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from control import events
from control.approvals import desk
from control.executions import lifecycle, logs
from control.identity import accounts
from control.identity.principals import Person, Role
from control.tables import approvals, executions, streams
from kit import canonical
from kit.blobs import Blobs
from kit.db import READ_LIMIT, Database
from kit.errors import Conflict, Fault, Invalid, Missing, Refused, Unauthorized, Unavailable
from web import auth, log
from web.parts import parts
from web.shared import News, Shared

MESSAGE = 4096
"""Characters of one message from outside."""
WATCHES = 20
"""Watches of one socket."""
BURST_S = 0.03
"""What happens within this time is told in one go."""
LOOK_S = 1.0
"""A watch looks again after this time without a wake-up: other processes wake only themselves."""
STILL_S = 30.0
"""How often we look whether the person is still signed in, though nobody said otherwise."""
PATIENCE_S = 30.0
"""How long one message may wait for a reader who takes nothing."""
GOODBYE_S = 1.0
NEWEST = 200
"""Rows of a list that are compared: what a page of it can show."""

Told = dict[str, Any]


class Asked(BaseModel):
    """One message from outside."""

    model_config = ConfigDict(extra="forbid", strict=True)

    watch: str = Field(min_length=1, max_length=60)
    after: int | None = Field(default=0, ge=0)
    log: int | None = Field(default=0, ge=0)


class Source(Protocol):
    """What can be watched."""

    topic: str

    async def begin(self) -> Told:
        """Take a place to read on from; the `watching` message."""

    async def news(self, woken: bool) -> Sequence[str]:
        """What is new since the last time, in order, from reads of at most 500 rows; messages as they are sent."""


class Run:
    """An execution: its events and its log, each with a cursor."""

    def __init__(self, db: Database, account_id: str, asked: Asked, shared: Shared, blobs: Blobs) -> None:
        self.topic = events.topic(asked.watch)
        self._shared, self._blobs = shared, blobs
        self._db, self._account_id, self._id, self._asked = db, account_id, asked.watch, asked
        self._seq, self._line = asked.after or 0, asked.log or 0

    async def begin(self) -> Told:
        if self._asked.after is None:
            self._seq = await self._end(self._id)
        if self._asked.log is None:
            self._line = await self._end(f"{self._id}.log")
        return {"type": "watching", "seq": self._seq, "log": self._line}

    async def _end(self, stream: str) -> int:
        mine = (streams.c.account_id == self._account_id) & (streams.c.id == stream)
        rows = await self._db.read(sa.select(streams.c.last_seq).where(mine))
        return int(rows[0].last_seq) if rows else 0

    async def news(self, woken: bool) -> Sequence[str]:
        place = (self._account_id, self._id, self._seq, self._line)
        found = await self._shared.news(place, self._look)
        self._seq, self._line = found.seq, found.line
        return found.texts

    async def _look(self) -> News:
        """The lines go first, though read last: whoever hears of the end has the log that led to it."""
        found = await events.read(self._db, self._account_id, self._id, after=self._seq)
        lines = await logs.read(self._db, self._account_id, self._id, after=self._line, blobs=self._blobs)
        pages = [lines[at : at + READ_LIMIT] for at in range(0, len(lines), READ_LIMIT)]
        told: list[Told] = [
            {"type": "log", "number": page[-1].number, "lines": [log.told(line) for line in page]} for page in pages
        ]
        told += [{"seq": e.seq, "type": e.type, "at": e.at, "data": e.data} for e in found]
        return News(
            texts=tuple(_text(self._id, one) for one in told),
            seq=found[-1].seq if found else self._seq,
            line=lines[-1].number if lines else self._line,
        )


class Changes:
    """A list: only that it changed. Old rows that change in another process are seen when the page looks by itself."""

    def __init__(self, db: Database, account_id: str, name: str, topic: str, columns: Sequence[sa.Column[Any]]) -> None:
        id_, table = columns[0], columns[0].table
        self._name = name
        self.topic = topic
        self._db = db
        self._newest = sa.select(*columns).where(table.c.account_id == account_id).order_by(id_.desc()).limit(NEWEST)
        self._seen: list[tuple[Any, ...]] = []

    async def begin(self) -> Told:
        self._seen = await self._rows()
        return {"type": "watching"}

    async def news(self, woken: bool) -> Sequence[str]:
        before, self._seen = self._seen, await self._rows()
        return [_text(self._name, {"type": "changed"})] if woken or self._seen != before else []

    async def _rows(self) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await self._db.read(self._newest)]


_RUNS = (executions.c.id, executions.c.state, executions.c.open_approvals, executions.c.stop_intent)
LISTS: dict[str, tuple[str, Sequence[sa.Column[Any]]]] = {
    "executions": (lifecycle.WORK, _RUNS),
    "approvals": (desk.TOPIC, (approvals.c.id, approvals.c.status)),
}


class Conversation:
    """One open socket: who is behind it and what they watch."""

    def __init__(self, socket: WebSocket, person: Person, tasks: TaskGroup) -> None:
        self._socket = socket
        self._person = person
        self._tasks = tasks
        self._watched: set[str] = set()
        self.goodbye: tuple[int, str] | None = None
        """Code and reason, when it is we who end it."""

    async def listen(self) -> None:
        """Take messages until the other side is gone."""
        while (message := await self._socket.receive())["type"] == "websocket.receive":
            text = message.get("text")
            if text is None or len(text) > MESSAGE:
                self._end(1009 if text else 1003, f"send text of at most {MESSAGE} characters")
                return
            await self._take(text)

    async def stay_signed_in(self) -> None:
        """Ends the conversation when the person's cookie or token does."""
        with parts(self._socket).bus.watch(accounts.topic(self._person.user_id)) as watch:
            try:
                while True:
                    await watch.changed(STILL_S)
                    await auth.person(self._socket)
            except Unauthorized as fault:
                self._end(1008, fault.code)

    async def _take(self, text: str) -> None:
        name = None
        try:
            asked = _read(text)
            name = asked.watch
            if name in self._watched:
                raise Conflict("watched_already", f"{name} is watched on this socket.", "Open another to begin anew.")
            if len(self._watched) >= WATCHES:
                raise Refused("watches_too_many", f"One socket watches at most {WATCHES}.", "Open another.")
            source = await self._source(asked)
        except Fault as fault:
            await self._send(_text(name, _error(fault)))
            return
        self._watched.add(name)
        self._tasks.start_soon(self._follow_while, name, source)

    async def _source(self, asked: Asked) -> Source:
        given, account_id = parts(self._socket), self._person.account_id
        db = given.db
        if asked.watch in LISTS:
            return Changes(db, account_id, asked.watch, *LISTS[asked.watch])
        mine = (executions.c.id == asked.watch) & (executions.c.account_id == account_id)
        if not await db.read(sa.select(executions.c.id).where(mine)):
            message = f"There is no execution {asked.watch}."
            raise Missing("execution_unknown", message, "/executions lists them; lists are executions and approvals.")
        return Run(db, account_id, asked, given.shared, given.blobs)

    async def _follow_while(self, name: str, source: Source) -> None:
        """Until what it shows can't be read: moved lines are elsewhere, and that may be down."""
        try:
            await self._follow(name, source)
        except (Missing, Unavailable) as fault:
            await self._send(_text(name, _error(fault)))
            self._end(1013, fault.code)

    async def _follow(self, name: str, source: Source) -> None:
        """Subscribe first, then read: so no change falls between."""
        with parts(self._socket).bus.watch(source.topic) as watch:
            await self._send(_text(name, await source.begin()))
            woken = False
            while True:
                told = await source.news(woken)
                for text in told:
                    await self._send(text)
                woken = not told and await watch.changed(LOOK_S)
                await anyio.sleep(BURST_S)

    async def _send(self, text: str) -> None:
        with anyio.move_on_after(PATIENCE_S) as patience:
            await self._socket.send_text(text)
        if patience.cancelled_caught:
            self._end(1013, "too slow")

    def _end(self, code: int, reason: str) -> None:
        self.goodbye = self.goodbye or (code, reason)
        self._tasks.cancel_scope.cancel()


def _error(fault: Fault) -> Told:
    return {"type": "error", "code": fault.code, "message": fault.message, "hint": fault.hint}


def _text(name: str | None, message: Told) -> str:
    return canonical.dumps({"watch": name, **message})


def _read(text: str) -> Asked:
    try:
        return Asked.model_validate(canonical.parse(text))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the message"
        hint = 'Send {"watch": "exe_…", "after": 0}.'
        raise Invalid("message_invalid", f"{where}: {first['msg']}.", hint) from error


async def converse(socket: WebSocket) -> None:
    """The endpoint. Whoever may not look gets no socket; when this server stops, uvicorn says 1012."""
    someone = await auth.person(socket)
    auth.need(someone, Role.VIEWER)
    await socket.accept()
    goodbye = None
    try:
        async with anyio.create_task_group() as tasks:
            conversation = Conversation(socket, someone, tasks)
            tasks.start_soon(conversation.stay_signed_in)
            await conversation.listen()
            tasks.cancel_scope.cancel()
        goodbye = conversation.goodbye
    except* WebSocketDisconnect:
        pass
    if goodbye:
        with anyio.move_on_after(GOODBYE_S):
            await socket.close(*goodbye)


class SocketRoute(WebSocketRoute):
    """A route that is no operation: it has no HTTP method for the document to describe."""

    methods: frozenset[str] = frozenset()


routes = [SocketRoute("/api/v1/live", converse)]
