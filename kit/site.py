"""One host that is asked again and again: its idle connections, dialling it, and the header lines it is sent.

No proxy, cookie or redirect; whoever asks decides what an error means. Neighbour: `connection` is one of them.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Mapping
from typing import Any

from kit.connection import Connection

OTHERS_S = 1.0
"""How long one of several addresses of a host is tried before the next."""


class Site:
    """A host and its idle connections, the one used last at the end. One that was idle for `kept_s` is not used."""

    __slots__ = ("_host", "_idle", "_kept_s", "_port", "_tls")

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, *, kept_s: float) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._kept_s = kept_s
        self._idle: list[Connection] = []

    async def connection(self, within_s: float) -> Connection:
        """One that was kept, or a new one; OSError (TimeoutError too) or ValueError when there is none to be had."""
        while self._idle:
            known = self._idle.pop()
            if known.is_open and known.idle_s < self._kept_s:
                return known
            known.close()
        async with asyncio.timeout(within_s):
            return await self._connect()

    def keep(self, connection: Connection) -> None:
        """Give it back: it stays if its answer was read to the end, or is closed."""
        if connection.rest():
            self._idle.append(connection)
        else:
            connection.close()

    def sweep(self, older_s: float | None = None) -> bool:
        """Close what was idle for so long, `kept_s` unless told; are there any left?"""
        limit = self._kept_s if older_s is None else older_s
        for connection in self._idle:
            if connection.idle_s >= limit:
                connection.close()
        self._idle = [connection for connection in self._idle if connection.is_open]
        return bool(self._idle)

    async def _connect(self) -> Connection:
        """To the first address that takes us."""
        loop = asyncio.get_running_loop()
        *others, last = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        for address in others:
            with contextlib.suppress(OSError):
                async with asyncio.timeout(OTHERS_S):
                    return await self._dial(loop, address[4])
        return await self._dial(loop, last[4])

    async def _dial(self, loop: asyncio.AbstractEventLoop, address: tuple[Any, ...]) -> Connection:
        name = self._host if self._tls else None
        _, made = await loop.create_connection(Connection, *address[:2], ssl=self._tls, server_hostname=name)
        return made


def header_lines(headers: Mapping[str, str]) -> str:
    """Headers as they are sent; ValueError for one that would end its line."""
    text = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if text.count("\n") != len(headers) or text.count("\r") != len(headers) or "\0" in text:
        raise ValueError("a header holds a line break")
    return text
