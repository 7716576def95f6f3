"""Plain bytes: a connection that an HTTP server accepted and hands over, or a socket of ours."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

import anyio

from kit.errors import Invalid

READ = 64 * 1024
LEAVE_S = 5.0
Count = Callable[[int], None]


class Wire:
    """One end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    def take(cls, transport: asyncio.Transport, early: bytes) -> "Wire":
        """A connection that somebody else accepted, with the bytes that were read of it."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=READ, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(early)
        return cls(reader, asyncio.StreamWriter(transport, protocol, reader, loop))

    @classmethod
    async def of(cls, sock: socket.socket) -> "Wire":
        """A socket that is connected."""
        return cls(*await asyncio.open_connection(sock=sock, limit=READ))

    async def head(self) -> bytes:
        """Up to and with the first empty line; Invalid when there is none in good measure."""
        try:
            return await self._reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise Invalid("connect_invalid", "The request's head has no end.") from error

    async def say(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def pour(self, other: "Wire", count: Count) -> None:
        """All that comes, to the other end; then the other end hears that no more does."""
        while data := await self._reader.read(READ):
            count(len(data))
            await other.say(data)
            count(0)
        with suppress(OSError, RuntimeError):
            other._writer.write_eof()

    async def leave(self) -> None:
        """What was said is still sent, as long as somebody takes it."""
        self._writer.close()
        with anyio.move_on_after(LEAVE_S, shield=True), suppress(OSError):
            await self._writer.wait_closed()
        self.cut()

    def cut(self) -> None:
        """Nothing more is sent."""
        self._writer.transport.abort()
