"""HTTP/1.1 to one upstream: connections that are kept open, answers that are read as they come.

As much of HTTP as JSON-RPC needs, at a third of what a general client costs: one URL, no redirects, no cookies, no
proxies, no content codings. What goes wrong is an OSError: `NotConnected` when nothing was sent.
"""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import unquote, urlsplit

import anyio

from kit import tls
from kit.connection import Response
from kit.site import Site, header_lines
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
        trusted = tls.context() if parts.scheme == "https" else None
        self._site = Site(parts.hostname or "", parts.port or (443 if trusted else 80), trusted, kept_s=IDLE_S)
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        known = {"host": parts.netloc.rpartition("@")[2]}
        sent = [unquote(parts.password or "")]
        if parts.username is not None:
            who = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            known["authorization"] = f"Basic {b64encode(who.encode()).decode()}"
            sent.append(known["authorization"])
        self.veil = Veil([*sent, *headers.values()])
        self._head = _lines(known | PLAIN | {name.lower(): value for name, value in headers.items()})
        self._room = anyio.Semaphore(CONNECTIONS, fast_acquire=True)
        self._sweeping: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> "Pool":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._site.sweep(0)

    @asynccontextmanager
    async def ask(self, method: str, headers: Mapping[str, str], body: bytes = b"") -> AsyncIterator[Response]:
        """The answer, once its headers are here. Its connection is kept if it was read to its end."""
        head = f"{method} {self._target} HTTP/1.1\r\n{self._head}{_lines(headers)}content-length: {len(body)}\r\n\r\n"
        await self._enter()
        try:
            try:
                connection = await self._site.connection(CONNECT_S)
            except TimeoutError as error:
                raise NotConnected(f"it did not answer within {CONNECT_S:g} s") from error
            except (OSError, ValueError) as error:
                raise NotConnected(str(error)) from error
            try:
                yield await connection.ask(head.encode() + body)
            finally:
                self._site.keep(connection)
                self._sweep_later()
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

    def _sweep_later(self) -> None:
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(IDLE_S, self._sweep)

    def _sweep(self) -> None:
        """Close what was idle for too long."""
        self._sweeping = None
        if self._site.sweep():
            self._sweep_later()


def _lines(headers: Mapping[str, str]) -> str:
    try:
        return header_lines(headers)
    except ValueError as error:
        raise NotConnected(str(error)) from error
