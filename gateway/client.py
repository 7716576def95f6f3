"""How providers are asked: connections that are kept open, and the answer's bytes as they come.

It dials the addresses of the settings and no other: no redirect is followed, no proxy, cookie or credential is taken
from the environment or from an answer. What goes wrong is an `UpstreamFailed` in our words: never an address, never a
header. Neighbour: `dialects/` says what to ask.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
from yarl import URL

from gateway.upstream import Target, UpstreamFailed
from kit.connection import Connection, Response

MOST_BYTES = 64 * 1024 * 1024
"""Of an answer that is not a stream."""
REFUSAL_BYTES = 64 * 1024
KEPT_S = 30.0
"""How long an idle connection is kept."""
OTHERS_S = 1.0
"""How long one of several addresses of a host is tried before the next."""
IDS: Final = ("x-request-id", "request-id", "x-goog-request-id", "cf-ray")


class Answer:
    """A provider's answer whose head is here. Close it in any case."""

    def __init__(self, response: Response, connection: Connection, server: "_Server") -> None:
        self._response = response
        self._connection: Connection | None = connection
        self._server = server
        self.status = response.status

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

    async def refusal(self) -> bytes:
        """The beginning of an error's body, for its sentence."""
        with contextlib.suppress(UpstreamFailed):
            return await self.whole(REFUSAL_BYTES)
        return b""

    def close(self) -> None:
        """Let go: an answer that was read to its end leaves its connection to others, any other one is cut."""
        if self._connection is not None:
            self._server.keep(self._connection)
            self._connection = None


@dataclass(slots=True, eq=False)
class _Server:
    """A host and its idle connections, the one used last at the end."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    idle: list[Connection] = field(default_factory=list)

    async def connection(self, within_s: float) -> Connection:
        """One that was kept, or a new one."""
        while self.idle:
            known = self.idle.pop()
            if known.is_open:
                return known
        try:
            async with asyncio.timeout(within_s):
                return await self._connect()
        except (OSError, ValueError) as error:
            raise UpstreamFailed(f"The provider can't be reached ({type(error).__name__}).") from error

    def keep(self, connection: Connection) -> None:
        if connection.rest():
            self.idle.append(connection)
        else:
            connection.close()

    def sweep(self, older_s: float) -> None:
        """Close what was idle for so long."""
        for connection in self.idle:
            if connection.idle_s >= older_s:
                connection.close()
        self.idle = [connection for connection in self.idle if connection.is_open]

    async def _connect(self) -> Connection:
        """To the first address that takes us."""
        loop = asyncio.get_running_loop()
        *others, last = await loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        for address in others:
            with contextlib.suppress(OSError):
                async with asyncio.timeout(OTHERS_S):
                    return await self._dial(loop, address[4])
        return await self._dial(loop, last[4])

    async def _dial(self, loop: asyncio.AbstractEventLoop, address: tuple[Any, ...]) -> Connection:
        name = self.host if self.tls else None
        _, made = await loop.create_connection(Connection, *address[:2], ssl=self.tls, server_hostname=name)
        return made


class Client:
    """The connections of one process. Without a limit: how much may run at once is for admission to say."""

    def __init__(self) -> None:
        self._tls = ssl.create_default_context()
        self._servers: dict[tuple[str, str, int], _Server] = {}
        self._known: dict[URL, tuple[_Server, str]] = {}

    async def post(self, target: Target, url: URL, headers: Mapping[str, str], body: bytes) -> Answer:
        """Ask; the answer's head, whatever its status. UpstreamFailed says whether it was reached at all."""
        return await self._ask("POST", target, url, f"{_lines(headers)}content-length: {len(body)}\r\n", body)

    async def look(self, target: Target, url: URL, headers: Mapping[str, str]) -> int:
        """The status of a GET; its body is of no interest."""
        answer = await self._ask("GET", target, url, _lines(headers), b"")
        answer.close()
        return answer.status

    async def _ask(self, method: str, target: Target, url: URL, lines: str, body: bytes) -> Answer:
        server, start = self._known.get(url) or self._learn(url)
        head = f"{method} {start}{lines}\r\n".encode("latin-1")
        connection = await server.connection(target.settings.connect_s)
        try:
            connection.patience_s = target.settings.first_byte_s
            response = await connection.ask(head + body)
        except BaseException as error:
            connection.close()
            if isinstance(error, OSError):
                raise _broken(error, "before it answered") from error
            raise
        connection.patience_s = target.settings.stream_idle_s
        return Answer(response, connection, server)

    def sweep(self, older_s: float = KEPT_S) -> None:
        """Close what was idle for so long."""
        for server in self._servers.values():
            server.sweep(older_s)

    def _learn(self, url: URL) -> tuple[_Server, str]:
        """Where an address leads, and the lines every request to it begins with."""
        host, port = url.host or "", url.port or 0
        place = (url.scheme, host, port)
        if place not in self._servers:
            self._servers[place] = _Server(host, port, self._tls if url.scheme == "https" else None)
        named = url.host_port_subcomponent
        start = f"{url.raw_path_qs} HTTP/1.1\r\nhost: {named}\r\naccept-encoding: identity\r\n"
        self._known[url] = (self._servers[place], start)
        return self._known[url]


@asynccontextmanager
async def open_client() -> AsyncIterator[Client]:
    """A client; its connections are closed in the end."""
    client = Client()
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
    text = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if text.count("\n") != len(headers) or text.count("\r") != len(headers) or "\0" in text or not text.isascii():
        raise UpstreamFailed("The provider can't be reached (a header can't be sent: is its key one line of ASCII?).")
    return text


def _broken(error: OSError, when: str) -> UpstreamFailed:
    if isinstance(error, TimeoutError):
        return UpstreamFailed(f"The model went silent {when}.", code="upstream_stalled")
    return UpstreamFailed(f"The provider broke off {when} ({type(error).__name__}).", code="upstream_cut")
