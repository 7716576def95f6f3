"""One HTTP request and its answer, between our app and the SDK: whose it is, what was sent, and whether it got through.

The SDK opens an answer as an event stream after a first notification or 15 silent seconds (2026-07-28). `open` does
it at once for a call that waits; from then on what the SDK means as one JSON body is sent as the stream's event. On
the older wire every event of a call gets the id by which its stream can be taken up again.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import anyio
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR
from starlette.types import Message, Receive, Send

from control.identity.principals import Principal
from kit.errors import Fault, Invalid
from kit.metrics import Gauge
from kit.observe import log
from mcp_server import resume
from mcp_server.asked import Answer, Begun, Report
from mcp_server.resume import Trail

EXCHANGE = "preloop.exchange"
"""Where the ASGI scope carries it."""
ORPHANS = Gauge("preloop_orphaned_waiters", "Handlers that go on although their client has left: none should for long.")
MAX_BODY = 4 * 1024 * 1024
PING_S = 15.0
"""A silent stream of ours says that it is alive."""

_STREAM = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]
_JSON = (b"content-type", b"application/json")
_EVENT = b"event: message\r\n"


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


def _has_left(receive: Receive) -> bool:
    """One step of `receive`: after the body it waits for nothing but the client's leaving."""
    step = receive().__await__()
    try:
        next(step)
    except StopIteration as said:
        return bool(said.value["type"] == "http.disconnect")
    else:
        step.close()
    return False


class Exchange:
    """A request that was admitted, with its body read. It is over when its answer is whole or nobody listens."""

    def __init__(
        self,
        principal: Principal,
        admitted: Callable[[], Awaitable[object]],
        body: bytes,
        receive: Receive,
        send: Send,
        fault: Invalid | None,
        lasting: bool = False,
    ) -> None:
        self.principal = principal
        self.admitted = admitted
        self.fault = fault
        self.answer: Answer | None = None
        self.begun: Begun | None = None
        """How far our own path came with a call before the SDK got it."""
        self.delivered = False
        self.over = False
        self.lasting = lasting
        self.holds = False
        """Does the answer begin with its first event? A client of the older wire that read a stream's headers and no
        event id waits for ever when we are killed; one that read nothing knows that its request failed."""
        self._body = body
        self._unread = True
        self._receive = receive
        self._send = send
        self._left = anyio.Event()
        self._gone = False
        self._started = False
        self._held: Message | None = None
        self._opened = False
        self._wraps = False
        self._ended = False
        self._trail: Trail | None = None
        self._primed = True
        self._events = 0
        self._handling: anyio.CancelScope | None = None
        self._orphan = False
        self._lock = anyio.Lock(fast_acquire=True)

    # what the SDK reads ---------------------------------------------------------------------------------------------

    async def receive(self) -> Message:
        """The body once more, then what the connection says."""
        if self._unread:
            self._unread = False
            return {"type": "http.request", "body": self._body, "more_body": False}
        message = await (self._receive_or_left() if self.lasting else self._receive())
        if message["type"] == "http.disconnect":
            self._gone = True
        return message

    async def _receive_or_left(self) -> Message:
        message: Message = {"type": "http.disconnect"}
        async with anyio.create_task_group() as either:

            async def left() -> None:
                await self._left.wait()
                either.cancel_scope.cancel()

            either.start_soon(left)
            message = await self._receive()
            either.cancel_scope.cancel()
        return message

    def leave(self) -> None:
        """End a lasting stream from our side, as if the client had left: we stop, or its session is over."""
        self._left.set()

    def again(self) -> None:
        """Offer the body once more: the request is served a second time, because the first found no session."""
        self._unread = True

    # what the SDK says ----------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Begin the answer as an event stream, if nothing has begun it yet."""
        async with self._lock:
            if not self._started:
                self._started = self._opened = True
                await self._send({"type": "http.response.start", "status": 200, "headers": _STREAM})
                await self._put(b": waiting\r\n\r\n")
            await self._release()
            if not self._primed:
                self._primed = True
                await self._put(resume.event("", self._next_id()))

    def follow(self, trail: Trail, *, primes: bool) -> None:
        """From now on events carry the id of this call. `primes`: this client can read an event without data."""
        self._trail, self._events = trail, trail.seen
        self._primed = not primes

    async def send(self, message: Message) -> None:
        async with self._lock:
            if message["type"] == "http.response.start":
                if self._opened:
                    types = dict(message["headers"]).get(b"content-type", b"")
                    self._wraps = not types.startswith(b"text/event-stream")
                    return
                self._started = True
                if self.holds:
                    self._held = message
                    return
            elif message.get("body"):
                message = {**message, "body": self._marked(message["body"])}
            await self._release()
            await self._send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                self._ended = True
                self.delivered = not self._gone

    async def _release(self) -> None:
        """Send what was held of the answer's beginning."""
        held, self._held = self._held, None
        if held is not None:
            await self._send(held)

    async def reply(self, body: bytes) -> None:
        """The whole answer as one JSON body."""
        self._gone = self._gone or _has_left(self._receive)
        self._started = self._ended = True
        length = (b"content-length", str(len(body)).encode())
        await self._send({"type": "http.response.start", "status": 200, "headers": [length, _JSON]})
        await self._send({"type": "http.response.body", "body": body, "more_body": False})
        self.delivered = not self._gone

    def _marked(self, body: bytes) -> bytes:
        if self._wraps:
            return _EVENT + b"data: " + body + b"\r\n\r\n"
        if self._trail is not None and body.startswith(_EVENT):
            return _EVENT + resume.mark(self._next_id()).encode() + body.removeprefix(_EVENT)
        return body

    # a stream of our own --------------------------------------------------------------------------------------------

    async def put(self, data: str) -> None:
        """One event on a stream that `open` began."""
        async with self._lock:
            await self._put(resume.event(data, self._next_id()))

    @property
    def plain(self) -> bool:
        """Is it a stream that was only asked to be open, as on the older wire?"""
        return self.lasting and not self._body

    async def tell(self, data: str) -> None:
        """One event among those of a stream that somebody else answers, if it is open by now."""
        async with self._lock:
            if self._started and not self._ended:
                await self._release()
                await self._put(resume.event(data))

    def reporter(self, trail: Trail) -> Report:
        """How a stream that was taken up again tells its client how the call stands."""

        async def report(message: str, *, waiting: bool) -> None:
            if data := trail.report(self._events + 1, message):
                await self.put(data)

        return report

    async def ping(self) -> None:
        """Keep a silent stream alive until cancelled."""
        while True:
            await anyio.sleep(PING_S)
            async with self._lock:
                await self._put(b": ping\r\n\r\n")

    async def watch(self) -> None:
        """Return when the client has left, or `leave` was called."""
        while not self.gone:
            await self.receive()

    @property
    def gone(self) -> bool:
        """Has the client left?"""
        return self._gone

    async def close(self) -> None:
        """End the answer, however it stands, and whoever still works on it."""
        self.over = True
        if self._handling is not None:
            self._handling.cancel()
            self._orphan = True
            ORPHANS.add()
        if self._started and not self._ended:
            self._ended = True
            await self._release()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    @contextmanager
    def handling(self) -> Iterator[anyio.CancelScope]:
        """Work that ends with this exchange: in a session of the older wire, a handler may outlive its request.

        What goes wrong on our side is in the log; an agent reads only that it did.
        """
        with anyio.CancelScope() as self._handling:
            if self.over:
                self._handling.cancel()
            try:
                yield self._handling
            except (Fault, MCPError):
                raise
            except Exception as error:
                log.exception("a call broke")
                raise MCPError(code=INTERNAL_ERROR, message="Something went wrong on our side.") from error
            finally:
                self._handling = None
                ORPHANS.add(by=-int(self._orphan))

    def _next_id(self) -> str | None:
        self._events += 1
        return self._trail.event_id(self._events) if self._trail is not None else None

    async def _put(self, body: bytes) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": True})
