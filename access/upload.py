"""The body of a request as it comes: looked into first, then passed on as it is. Counted, and never waited for long."""

from collections.abc import AsyncIterator

import anyio
from starlette.types import Message, Receive

from access import push
from access.allowance import Meter
from access.push import Update
from kit.asgi import refusal
from kit.errors import Fault, Invalid

CLIENT_S = 120.0
"""How long a client may send nothing, or take nothing."""
NOTHING = b"0000"
"""A push without a command: git asks in this way whether it would be let in."""


class Upload:
    """One body. `commands` before anything else, if at all; then iterate once."""

    def __init__(self, receive: Receive, meter: Meter) -> None:
        self._receive = receive
        self._meter = meter
        self._head = b""
        self._more = True
        self._whole = anyio.Event()

    async def commands(self) -> tuple[Update, ...]:
        """What a push wants to change; Invalid when that can't be told. Kept for whoever iterates."""
        while (found := push.read(self._head)) is None:
            if not self._more:
                raise Invalid("push_invalid", "The push ends before its pack.")
            self._head += await self._next()
        if not found:
            while self._more:
                self._head += await self._next()
                if self._head != NOTHING:
                    break
            if self._head != NOTHING:
                raise Invalid("push_invalid", "There is a push without a command.")
        return found

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._head:
            yield self._head
        while self._more:
            yield await self._next()

    async def left(self) -> None:
        """Returns when the client went away after it had said everything."""
        await self._whole.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _next(self) -> bytes:
        try:
            with anyio.fail_after(CLIENT_S):
                message: Message = await self._receive()
        except TimeoutError as error:
            raise refusal(408, "body_slow", f"Nothing came for {CLIENT_S:g} s.") from error
        if message["type"] == "http.disconnect":
            raise Fault("client_left", "The client left before it had said everything.")
        data: bytes = message.get("body", b"")
        self._meter.sent(len(data))
        self._more = bool(message.get("more_body"))
        if not self._more:
            self._whole.set()
        return data
