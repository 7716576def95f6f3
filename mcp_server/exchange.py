"""One HTTP request and its answer, between our app and the SDK: whose it is, what was sent, and whether it got through.

The SDK opens an answer as an event stream after a first notification or 15 silent seconds (2026-07-28). `open` does
it at once for a call that waits; from then on what the SDK means as one JSON body is sent as the stream's event.
"""

from collections.abc import Awaitable, Callable

import anyio
from starlette.types import Message, Receive, Send

from control.identity.principals import Principal
from kit.errors import Invalid
from mcp_server.calls import Answer

EXCHANGE = "preloop.exchange"
"""Where the ASGI scope carries it."""
MAX_BODY = 4 * 1024 * 1024

_STREAM = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]


class TooLarge(Exception):
    """The request's body is longer than `MAX_BODY`."""


async def body_of(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            raise TooLarge
        if not message.get("more_body", False):
            return bytes(body)


class Exchange:
    """A request that was admitted, with its body read."""

    def __init__(
        self,
        principal: Principal,
        admitted: Callable[[], Awaitable[object]],
        body: bytes,
        receive: Receive,
        send: Send,
        fault: Invalid | None,
    ) -> None:
        self.principal = principal
        self.admitted = admitted
        self.fault = fault
        self.answer: Answer | None = None
        self.delivered = False
        self._body: bytes | None = body
        self._receive = receive
        self._send = send
        self._gone = False
        self._started = False
        self._opened = False
        self._wraps = False
        self._lock = anyio.Lock()

    async def receive(self) -> Message:
        """The body once more, then what the connection says."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._gone = True
        return message

    async def open(self) -> None:
        """Begin the answer as an event stream, if nothing has begun it yet."""
        async with self._lock:
            if self._started:
                return
            self._started = self._opened = True
            await self._send({"type": "http.response.start", "status": 200, "headers": _STREAM})
            await self._send({"type": "http.response.body", "body": b": waiting\r\n\r\n", "more_body": True})

    async def send(self, message: Message) -> None:
        async with self._lock:
            if message["type"] == "http.response.start":
                if self._opened:
                    types = dict(message["headers"]).get(b"content-type", b"")
                    self._wraps = not types.startswith(b"text/event-stream")
                    return
                self._started = True
            elif self._wraps and message.get("body"):
                message = {**message, "body": b"event: message\r\ndata: " + message["body"] + b"\r\n\r\n"}
            await self._send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                self.delivered = not self._gone
