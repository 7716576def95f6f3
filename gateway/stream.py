"""An answer on its way out: headers, bytes, keep-alive comments, and the client that may be gone.

Raw ASGI. Once the client is gone every write is a no-op, so that whoever writes can go on to the end.
"""

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream
from starlette.types import Message, Receive, Send

from gateway.wires.neutral import Delta

KEEP_ALIVE = b": keep-alive\n\n"
"""A comment: every client of the OpenAI wires skips it (Gemini's does not, it is not one of them)."""
SSE = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
JSON = [(b"content-type", b"application/json")]
Headers = list[tuple[bytes, bytes]]


class Pause:
    """Nothing came for a while."""


class End:
    """Nothing comes any more."""


PAUSE, END = Pause(), End()


class Outlet:
    """Where the bytes of one answer go."""

    def __init__(self, receive: Receive, send: Send, *, stalled_s: float) -> None:
        self._receive = receive
        self._send = send
        self._stalled_s = stalled_s
        self.gone = False
        self.started = False

    async def start(self, status: int, headers: Headers) -> None:
        self.started = True
        await self._out({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, data: bytes, *, last: bool = False) -> None:
        if data or last:
            await self._out({"type": "http.response.body", "body": data, "more_body": not last})

    async def whole(self, status: int, body: bytes, headers: Headers) -> None:
        """A complete answer of a known length."""
        await self.start(status, [*headers, (b"content-length", str(len(body)).encode())])
        await self.write(body, last=True)

    async def left(self) -> None:
        """Wait until the client is gone."""
        while not self.gone:
            if (await self._receive())["type"] == "http.disconnect":
                self.gone = True

    async def _out(self, message: Message) -> None:
        """Send, unless the client is gone; one that stops reading for too long counts as gone."""
        if self.gone:
            return
        try:
            with anyio.fail_after(self._stalled_s):
                await self._send(message)
        except (OSError, TimeoutError):
            self.gone = True


async def following(deltas: MemoryObjectReceiveStream[Delta], within_s: float) -> Delta | Pause | End:
    """The next delta, a pause when none came in time, or the end."""
    with anyio.move_on_after(within_s):
        try:
            return await deltas.receive()
        except anyio.EndOfStream:
            return END
    return PAUSE
