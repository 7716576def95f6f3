"""One HTTP/1.1 connection to an upstream, one request at a time; httptools reads it. Pools keep them."""

import asyncio
import time
from collections import deque
from typing import cast

import httptools

MOST_HEADERS = 64 * 1024
"""Bytes of an answer's headers."""
READ = 64 * 1024
PAUSE_AT = 128 * 1024
"""Bytes of a body that may wait to be read before the upstream is made to wait."""


class Response:
    """An answer: its headers are there, its body comes in chunks. Names of headers are lower case."""

    def __init__(self, connection: "Connection") -> None:
        self.status = 0
        self.raw: dict[bytes, bytes] = {}
        self.ended = False
        self._connection = connection
        self._chunks: deque[bytes] = deque()
        self._waiting = 0

    @property
    def headers(self) -> dict[str, str]:
        """All of them as text; `raw` has them as they came."""
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in self.raw.items()}

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    async def chunk(self) -> bytes:
        """The next bytes of the body, b'' at its end; ConnectionError when it breaks off."""
        while not self._chunks:
            if self.ended:
                return b""
            await self._connection.news()
        found = self._chunks.popleft()
        self._waiting -= len(found)
        if self._waiting < PAUSE_AT:
            self._connection.pause(False)
        return found

    async def some(self) -> bytes:
        """The bytes of the body that are here, a read's worth of them, as soon as there are any; b'' at its end."""
        first = await self.chunk()
        if not self._chunks:
            return first
        found, size = [first], len(first)
        while self._chunks and size < READ:
            found.append(self._chunks.popleft())
            size += len(found[-1])
        self._waiting -= size - len(first)
        if self._waiting < PAUSE_AT:
            self._connection.pause(False)
        return b"".join(found)

    def take(self, data: bytes) -> None:
        self._chunks.append(data)
        self._waiting += len(data)
        if self._waiting >= PAUSE_AT:
            self._connection.pause(True)


class Connection(asyncio.Protocol):
    """A connection that was made. `ask` once, read the answer, then `rest`; or `close`."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answer: Response | None = None
        self._news: asyncio.Future[None] | None = None
        self._broken: Exception | None = None
        self._size = 0
        self._keeps = False
        self._paused = False
        self._rested = 0.0
        self._until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.patience_s: float | None = None
        """How long whoever waits for news does so: TimeoutError then."""

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    @property
    def idle_s(self) -> float:
        return time.monotonic() - self._rested

    async def ask(self, request: bytes) -> Response:
        """Send, and wait for the answer's headers."""
        answer = self._answer = Response(self)
        self._size, self._keeps = 0, False
        assert self._transport is not None
        self._transport.write(request)
        while answer.status == 0:
            await self.news()
        return answer

    async def news(self) -> None:
        """Until something came; ConnectionError when nothing can come any more."""
        if self._broken is not None:
            raise self._broken
        loop = asyncio.get_running_loop()
        self._news = loop.create_future()
        if self.patience_s is not None:
            self._until = loop.time() + self.patience_s
            if self._timer is None or self._timer.when() > self._until:
                self._watch(loop)
        try:
            await self._news
        finally:
            self._news = None
        if self._broken is not None:
            raise self._broken

    def rest(self) -> bool:
        """Is the answer over, and may another request follow?"""
        answer, self._answer = self._answer, None
        self._rested = time.monotonic()
        return answer is not None and answer.ended and self._keeps and self.is_open

    def pause(self, wanted: bool) -> None:
        """Stop reading, or go on."""
        if wanted != self._paused and self.is_open and self._transport is not None:
            self._paused = wanted
            self._transport.pause_reading() if wanted else self._transport.resume_reading()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """One timer for all waits of this connection: it looks whether the last one is over its time."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(self._until, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._news is None:
            return
        if loop.time() < self._until:
            self._watch(loop)
        else:
            self._fail(TimeoutError("nothing came"))

    def _fail(self, error: Exception) -> None:
        self._broken = self._broken or error
        self.close()
        self._tell()

    # what asyncio says ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are of no class of asyncio's

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.ended:
            self.close()  # nobody asked
            return
        self._size += len(data) if self._answer.status == 0 else 0
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(ConnectionError("it does not speak HTTP"))
        if self._answer.status == 0 and self._size > MOST_HEADERS:
            self._fail(ConnectionError("its headers are too long"))

    def connection_lost(self, exc: Exception | None) -> None:
        answer = self._answer
        if answer is not None and answer.status and exc is None and not _measured(answer):
            answer.ended = True  # a body as long as the connection
        else:
            self._broken = self._broken or ConnectionError(str(exc or "it closed the connection"))
        if self._timer is not None:
            self._timer.cancel()
        self._tell()

    # what httptools says ----------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._answer is not None and self._answer.status:
            raise httptools.HttpParserError("a second answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._answer is not None and self._answer.status == 0:
            self._answer.raw[name.lower()] = value

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._answer is None:
            return
        if status < 200:
            self._answer.raw.clear()
            return
        self._answer.status = status
        self._tell()

    def on_body(self, data: bytes) -> None:
        if self._answer is not None:
            self._answer.take(data)
            self._tell()

    def on_message_complete(self) -> None:
        if self._answer is not None and self._answer.status:
            self._answer.ended = True
            self._keeps = self._parser.should_keep_alive()
            self._tell()


def _measured(answer: Response) -> bool:
    """Does the answer say itself where it ends?"""
    return b"content-length" in answer.raw or b"transfer-encoding" in answer.raw
