"""How providers are asked: connections that are kept open, and the answer's bytes as they come.

It dials the addresses of the settings and no other: no redirect is followed, no proxy, cookie or credential is taken
from the environment or from an answer. What goes wrong is an `UpstreamFailed` in our words: never an address, never a
header. Neighbour: `dialects/` says what to ask.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

import anyio
from yarl import URL

from gateway.dialects import failures
from gateway.upstream import Target, UpstreamFailed
from kit import tls
from kit.clock import Clock
from kit.connection import Connection, Response
from kit.site import Site, header_lines

MOST_BYTES = 64 * 1024 * 1024
"""Of an answer that is not a stream."""
REFUSAL_BYTES = 64 * 1024
KEPT_S = 30.0
"""How long an idle connection is kept."""
REST_S = 0.1
"""How long we wait for a body to end behind the event that ends its answer."""
IDS: Final = (b"x-request-id", b"request-id", b"x-goog-request-id", b"cf-ray")
Sent = Callable[[], None]


class Answer:
    """A provider's answer whose head is here. Close it in any case."""

    def __init__(self, response: Response, connection: Connection, site: Site, clock: Clock) -> None:
        self._response = response
        self._connection: Connection | None = connection
        self._site = site
        self._clock = clock
        self.status = response.status

    @property
    def retry_after_s(self) -> int | None:
        """Seconds it asks us to wait, if it does."""
        return failures.retry_after_s(self._response.headers, self._clock.now())

    @property
    def request_id(self) -> str | None:
        headers = self._response.raw
        for name in IDS:
            if name in headers:
                return headers[name][:200].decode("latin-1")
        return None

    async def more(self) -> bytes:
        """The next bytes as they came; b'' at the end. Safe to cancel: nothing is lost."""
        try:
            return await self._response.some()
        except OSError as error:
            raise _broken(error, "in the middle of its answer") from error

    async def whole(self, most: int = MOST_BYTES) -> bytes:
        """All of it."""
        pieces, size = [], 0
        while piece := await self.more():
            pieces.append(piece)
            size += len(piece)
            if size > most:
                raise UpstreamFailed(f"The model's answer has more than {most} bytes.", code="upstream_cut")
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def rest(self) -> None:
        """Wait a moment for the end of a body whose last words are here: then its connection can be asked again."""
        if self._response.ended:
            return
        with contextlib.suppress(TimeoutError, UpstreamFailed):
            async with asyncio.timeout(REST_S):
                while await self.more():
                    pass

    async def refusal(self) -> bytes:
        """The beginning of an error's body, for its sentence."""
        with contextlib.suppress(UpstreamFailed):
            return await self.whole(REFUSAL_BYTES)
        return b""

    def close(self) -> None:
        """Let go: an answer that was read to its end leaves its connection to others, any other one is cut."""
        if self._connection is not None:
            self._site.keep(self._connection)
            self._connection = None


class Client:
    """The connections of one process. Without a limit: how much may run at once is for admission to say."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sites: dict[tuple[str, str, int], Site] = {}
        self._known: dict[URL, tuple[Site, str]] = {}

    async def post(
        self, target: Target, url: URL, headers: Mapping[str, str], body: bytes, sent: Sent | None = None
    ) -> Answer:
        """Ask; the answer's head, whatever its status. UpstreamFailed says whether it was reached at all; `sent` is
        called just before the first byte goes out."""
        return await self._ask("POST", target, url, f"{_lines(headers)}content-length: {len(body)}\r\n", body, sent)

    async def look(self, target: Target, url: URL, headers: Mapping[str, str]) -> int:
        """The status of a GET; its body is of no interest."""
        answer = await self._ask("GET", target, url, _lines(headers), b"")
        answer.close()
        return answer.status

    async def _ask(
        self, method: str, target: Target, url: URL, lines: str, body: bytes, sent: Sent | None = None
    ) -> Answer:
        site, start = self._known.get(url) or self._learn(url)
        head = f"{method} {start}{lines}\r\n".encode("latin-1")
        try:
            connection = await site.connection(target.settings.connect_s)
        except (OSError, ValueError) as error:
            raise UpstreamFailed(f"The provider can't be reached ({type(error).__name__}).") from error
        try:
            connection.patience_s = target.settings.first_byte_s
            if sent:
                sent()
            response = await connection.ask(head + body)
        except BaseException as error:
            connection.close()
            if isinstance(error, OSError):
                raise _broken(error, "before it answered") from error
            raise
        connection.patience_s = target.settings.stream_idle_s
        return Answer(response, connection, site, self._clock)

    def sweep(self, older_s: float = KEPT_S) -> None:
        """Close what was idle for so long."""
        for site in self._sites.values():
            site.sweep(older_s)

    def _learn(self, url: URL) -> tuple[Site, str]:
        """Where an address leads, and the lines every request to it begins with."""
        host, port = url.host or "", url.port or 0
        place = (url.scheme, host, port)
        if place not in self._sites:
            trusted = tls.context() if url.scheme == "https" else None
            self._sites[place] = Site(host, port, trusted, kept_s=KEPT_S)
        named = url.host_port_subcomponent
        start = f"{url.raw_path_qs} HTTP/1.1\r\nhost: {named}\r\naccept-encoding: identity\r\n"
        self._known[url] = (self._sites[place], start)
        return self._known[url]


@asynccontextmanager
async def open_client(clock: Clock) -> AsyncIterator[Client]:
    """A client; its connections are closed in the end."""
    client = Client(clock)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_sweep, client)
        try:
            yield client
        finally:
            tasks.cancel_scope.cancel()
            client.sweep(0)


async def _sweep(client: Client) -> None:
    while True:
        await anyio.sleep(KEPT_S / 2)
        client.sweep()


def _lines(headers: Mapping[str, str]) -> str:
    with contextlib.suppress(ValueError):
        if (lines := header_lines(headers)).isascii():
            return lines
    raise UpstreamFailed("The provider can't be reached (a header can't be sent: is its key one line of ASCII?).")


def _broken(error: OSError, when: str) -> UpstreamFailed:
    if isinstance(error, TimeoutError):
        return UpstreamFailed(f"The model went silent {when}.", code="upstream_stalled")
    return UpstreamFailed(f"The provider broke off {when} ({type(error).__name__}).", code="upstream_cut")
