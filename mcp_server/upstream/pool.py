"""HTTP/1.1 to one upstream: connections that are kept open, answers that are read as they come.

As much of HTTP as JSON-RPC needs, at a third of what a general client costs: one URL, no redirects, no cookies, no
proxies, no content codings. What goes wrong is an OSError: `NotConnected` when nothing was sent.
"""

import asyncio
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import unquote, urlsplit

import anyio

from kit.connection import Connection, Response
from mcp_server.upstream.veil import Veil
from mcp_server.upstream.wire import CONNECT_S, CONNECTIONS, IDLE_S

PLAIN = {
    "accept": "application/json, text/event-stream",
    "accept-encoding": "identity",
    "content-type": "application/json",
    "user-agent": "preloop",
}


class NotConnected(OSError):
    """No connection, so nothing was sent."""


class Pool:
    """The connections to one URL; `headers` go with every request. Use it as a context."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._tls else 80)
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        known = {"host": parts.netloc.rpartition("@")[2]}
        sent = [unquote(parts.password or "")]
        if parts.username is not None:
            who = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            known["authorization"] = f"Basic {b64encode(who.encode()).decode()}"
            sent.append(known["authorization"])
        self.veil = Veil([*sent, *headers.values()])
        self._head = _lines(known | PLAIN | {name.lower(): value for name, value in headers.items()})
        self._idle: list[Connection] = []
        self._room = anyio.Semaphore(CONNECTIONS, fast_acquire=True)
        self._sweeping: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> "Pool":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
        while self._idle:
            self._idle.pop().close()

    @asynccontextmanager
    async def ask(self, method: str, headers: Mapping[str, str], body: bytes = b"") -> AsyncIterator[Response]:
        """The answer, once its headers are here. Its connection is kept if it was read to its end."""
        head = f"{method} {self._target} HTTP/1.1\r\n{self._head}{_lines(headers)}content-length: {len(body)}\r\n\r\n"
        await self._enter()
        try:
            connection = await self._connection()
            try:
                yield await connection.ask(head.encode() + body)
            finally:
                self._keep(connection)
        finally:
            self._room.release()

    async def _enter(self) -> None:
        try:
            self._room.acquire_nowait()
        except anyio.WouldBlock:
            try:
                with anyio.fail_after(CONNECT_S):
                    await self._room.acquire()
            except TimeoutError as error:
                raise NotConnected(f"{CONNECTIONS} requests are under way") from error

    async def _connection(self) -> Connection:
        while self._idle:
            known = self._idle.pop()
            if known.idle_s < IDLE_S and known.is_open:
                return known
            known.close()
        loop = asyncio.get_running_loop()
        try:
            with anyio.fail_after(CONNECT_S):
                _, made = await loop.create_connection(
                    Connection, self._host, self._port, ssl=self._tls, server_hostname=self._host if self._tls else None
                )
        except TimeoutError as error:
            raise NotConnected(f"it did not answer within {CONNECT_S:g} s") from error
        except OSError as error:
            raise NotConnected(str(error)) from error
        return made

    def _keep(self, connection: Connection) -> None:
        if not connection.rest():
            connection.close()
            return
        self._idle.append(connection)
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(IDLE_S, self._sweep)

    def _sweep(self) -> None:
        """Close what was idle for too long."""
        for connection in self._idle:
            if connection.idle_s >= IDLE_S:
                connection.close()
        self._idle = [connection for connection in self._idle if connection.is_open]
        again = self._idle and asyncio.get_running_loop().call_later(IDLE_S, self._sweep)
        self._sweeping = again or None


def _lines(headers: Mapping[str, str]) -> str:
    text = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    if text.count("\n") != len(headers) or text.count("\r") != len(headers) or "\0" in text:
        raise NotConnected("a header holds a line break")
    return text
