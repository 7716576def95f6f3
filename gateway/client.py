"""How providers are asked: one pool of connections, and the answer's bytes as they come.

It dials the addresses of the settings and no other: no redirect is followed, no proxy, cookie or credential is taken
from the environment or from an answer. What goes wrong is an `UpstreamFailed` in our words. Neighbour: `dialects/`
says what to ask.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from gateway.upstream import Target, UpstreamFailed

MOST_BYTES = 64 * 1024 * 1024
"""Of an answer that is not a stream."""
REFUSAL_BYTES = 64 * 1024
KEPT_S = 30.0
"""How long an idle connection is kept."""
IDS: Final = ("x-request-id", "request-id", "x-goog-request-id", "cf-ray")


class Answer:
    """A provider's answer whose head is here. Close it in any case."""

    def __init__(self, response: aiohttp.ClientResponse, target: Target) -> None:
        self._response = response
        self.status = response.status
        protocol = response.connection.protocol if response.connection is not None else None
        if protocol is not None:  # else all of it is here already
            protocol.read_timeout = target.settings.stream_idle_s
            protocol.start_timeout()

    @property
    def retry_after_s(self) -> int | None:
        """Seconds it asks us to wait; a date, which providers don't send, counts as nothing."""
        value = self._response.headers.get("retry-after", "")
        return int(value) if value.isdecimal() and len(value) < 7 else None

    @property
    def request_id(self) -> str | None:
        headers = self._response.headers
        return next((headers[name][:200] for name in IDS if name in headers), None)

    async def more(self) -> bytes:
        """The next bytes as they came; b'' at the end. Safe to cancel: nothing is lost."""
        with _told("in the middle of its answer"):
            return await self._response.content.readany()

    async def whole(self, most: int = MOST_BYTES) -> bytes:
        """All of it."""
        length = self._response.content_length
        with _told("in the middle of its answer"):
            if length is not None and length <= most:
                return await self._response.read()
            pieces, size = [], 0
            while piece := await self._response.content.readany():
                pieces.append(piece)
                size += len(piece)
                if size > most:
                    raise UpstreamFailed(f"The model's answer has more than {most} bytes.", code="upstream_cut")
            return b"".join(pieces)

    async def refusal(self) -> bytes:
        """The beginning of an error's body, for its sentence."""
        with contextlib.suppress(UpstreamFailed):
            return await self.whole(REFUSAL_BYTES)
        return b""

    def close(self) -> None:
        """Let go: an answer that was read to its end leaves its connection to others, any other one is cut."""
        self._response.close()


class Client:
    """The pool of one process. Open with `open_client`."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._timeouts: dict[tuple[float, float], aiohttp.ClientTimeout] = {}

    async def post(self, target: Target, url: URL, headers: Mapping[str, str], body: bytes) -> Answer:
        """Ask; the answer's head, whatever its status. UpstreamFailed says whether it was reached at all."""
        with _told("before it answered"):
            response = await self._session.post(
                url, data=body, headers=headers, allow_redirects=False, timeout=self._timeout(target)
            )
        return Answer(response, target)

    def _timeout(self, target: Target) -> aiohttp.ClientTimeout:
        wanted = (target.settings.connect_s, target.settings.first_byte_s)
        if wanted not in self._timeouts:
            self._timeouts[wanted] = aiohttp.ClientTimeout(
                total=None, connect=None, sock_connect=wanted[0], sock_read=wanted[1]
            )
        return self._timeouts[wanted]


@asynccontextmanager
async def open_client() -> AsyncIterator[Client]:
    """A pool without a limit: how much may run at once is for admission to say."""
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_S, ssl=ssl.create_default_context()),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"accept-encoding": "identity"},
        skip_auto_headers=("user-agent", "accept"),
        trust_env=False,
    )
    try:
        yield Client(session)
    finally:
        await session.close()


class _Told:
    """Turns what the library raises into what the caller may know: never an address, never a header."""

    __slots__ = ("_when",)

    def __init__(self, when: str) -> None:
        self._when = when

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, at: object) -> None:
        if error is None or not isinstance(error, Exception) or isinstance(error, UpstreamFailed):
            return
        raise self._failed(error) from error

    def _failed(self, error: Exception) -> UpstreamFailed:
        name = type(error).__name__
        if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError | aiohttp.InvalidURL):
            return UpstreamFailed(f"The provider can't be reached ({name}).")
        if isinstance(error, asyncio.TimeoutError):
            return UpstreamFailed(f"The model went silent {self._when}.", code="upstream_stalled")
        if isinstance(error, aiohttp.ClientError | OSError | HttpProcessingError):
            return UpstreamFailed(f"The provider broke off {self._when} ({name}).", code="upstream_cut")
        raise error


def _told(when: str) -> _Told:
    return _Told(when)
