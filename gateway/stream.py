"""An answer on its way out: headers, bytes, the client that may be gone, and the pipe between provider and client.

Raw ASGI. Once the client is gone every write is a no-op, so that whoever writes can go on to the end.
"""

import asyncio
from typing import Any

from starlette.types import Message, Receive, Send

SSE = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
JSON = [(b"content-type", b"application/json")]
Headers = list[tuple[bytes, bytes]]
PIPE_BYTES = 128 * 1024
"""What may wait for a slow client before the provider has to wait too."""


class Outlet:
    """Where the bytes of one answer go."""

    __slots__ = ("_receive", "_send", "_stalled", "_stalled_s", "_writing", "gone", "started", "status")

    def __init__(self, receive: Receive, send: Send, *, stalled_s: float) -> None:
        self._receive = receive
        self._send = send
        self._stalled_s = stalled_s
        self._stalled = False
        self._writing: tuple[asyncio.Task[Any], asyncio.TimerHandle] | None = None
        self.gone = False
        self.started = False
        self.status = 0

    async def start(self, status: int, headers: Headers) -> None:
        self.started, self.status = True, status
        await self._out({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, data: bytes, *, last: bool = False) -> None:
        if data or last:
            await self._out({"type": "http.response.body", "body": data, "more_body": not last})

    async def whole(self, status: int, body: bytes, headers: Headers) -> None:
        """A complete answer of a known length."""
        self.started, self.status = True, status
        headers = [*headers, (b"content-length", b"%d" % len(body))]
        await self._out(
            {"type": "http.response.start", "status": status, "headers": headers},
            {"type": "http.response.body", "body": body, "more_body": False},
        )

    def hurry(self, stalled_s: float) -> None:
        """From now on, also for what is being written: one that does not read for so long counts as gone."""
        self._stalled_s = stalled_s
        if self._writing:
            task, timer = self._writing
            timer.cancel()
            self._writing = (task, self._timer(task))

    async def left(self) -> None:
        """Wait until the client is gone."""
        while not self.gone:
            if (await self._receive())["type"] == "http.disconnect":
                self.gone = True

    async def _out(self, *messages: Message) -> None:
        """Send, unless the client is gone; one that stops reading for too long counts as gone."""
        if self.gone:
            return
        task = asyncio.current_task()
        assert task
        self._writing = (task, self._timer(task))
        try:
            for message in messages:
                await self._send(message)
        except OSError:
            self.gone = True
        except asyncio.CancelledError:
            if not self._stalled or task.uncancel():  # somebody else's
                raise
            self.gone = True
        finally:
            self._writing[1].cancel()
            self._writing = None

    def _timer(self, task: "asyncio.Task[Any]") -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(self._stalled_s, self._stall, task)  # a third of asyncio.timeout

    def _stall(self, task: "asyncio.Task[Any]") -> None:
        self._stalled = True
        task.cancel()


class Pause:
    """Nothing came for a while."""


class End:
    """Nothing comes any more."""


PAUSE, END = Pause(), End()


class Pipe:
    """Bytes from whoever reads the provider to whoever writes to the client: one of each, and a bound in between."""

    __slots__ = ("_ended", "_pieces", "_room", "_size", "_some", "last")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self._ended = False
        self._some: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self.last = b"\n\n"
        """The end of what was taken so far."""

    async def put(self, data: bytes) -> None:
        """Add bytes; waits while the client is too far behind."""
        self._pieces.append(data)
        self._size += len(data)
        _tell(self._some)
        while self._size >= PIPE_BYTES:
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def end(self) -> None:
        self._ended = True
        _tell(self._some)

    async def take(self, within_s: float) -> bytes | Pause | End:
        """All that is there, a pause when nothing came in time, or the end."""
        if not self._pieces and not self._ended:
            loop = asyncio.get_running_loop()
            self._some = loop.create_future()
            timer = loop.call_later(within_s, _tell, self._some)
            try:
                await self._some
            finally:
                timer.cancel()
            if not self._pieces and not self._ended:
                return PAUSE
        if not self._pieces:
            return END
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        self.last = data[-4:]
        _tell(self._room)
        return data

    @property
    def between(self) -> bool:
        """Is the client between two events, where a pause can be filled?"""
        return self.last.endswith((b"\n\n", b"\r\n\r\n"))


def _tell(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)
