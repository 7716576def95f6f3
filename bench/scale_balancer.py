"""A small load balancer: connections go to replicas in turn, to the next one where one refuses, and those of a replica
that answers its health check no more are closed, as HAProxy does with `on-marked-down shutdown-sessions`.

It passes bytes on and reads none: it repeats no request.
"""

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, SocketStream

CHECK_EVERY_S, CHECK_S = 1.0, 2.0
FAILURES = 2
"""Checks that fail in a row make a replica one that is down; one that passes makes it one that is up."""
BROKEN = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)


@dataclass(eq=False, kw_only=True)
class Behind:
    """One replica."""

    port: int
    asked: int
    """The port that says how it does: containers are told nothing of that."""
    up: bool = True
    failed: int = 0
    open_: set[anyio.CancelScope] = field(default_factory=set)


@dataclass(kw_only=True)
class Balancer:
    port: int
    behind: list[Behind]
    cut: int = 0
    """Connections that were closed because their replica was down."""
    refused: int = 0
    """Connections that went to another replica because one refused."""
    _turn: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def take(self, client: SocketStream) -> None:
        async with client:
            for _ in self.behind:
                self._turn += 1
                one = self.behind[self._turn % len(self.behind)]
                if not one.up:
                    continue
                try:
                    server = await anyio.connect_tcp("127.0.0.1", one.port)
                except OSError:
                    self.refused += 1
                    continue
                async with server:
                    await self._join(client, server, one)
                return

    async def _join(self, client: SocketStream, server: SocketStream, one: Behind) -> None:
        async with anyio.create_task_group() as tasks:
            one.open_.add(tasks.cancel_scope)
            try:
                tasks.start_soon(_pass, client, server)
                await _pass(server, client)
            finally:
                one.open_.discard(tasks.cancel_scope)
                tasks.cancel_scope.cancel()

    async def check(self, one: Behind) -> None:
        while True:
            await anyio.sleep(CHECK_EVERY_S)
            if await _answers(one.asked):
                one.up, one.failed = True, 0
                continue
            one.failed += 1
            if one.failed == FAILURES:
                one.up = False
                self.cut += len(one.open_)
                for scope in list(one.open_):
                    scope.cancel()


async def _pass(source: ByteReceiveStream, sink: ByteSendStream) -> None:
    with suppress(*BROKEN):
        async for chunk in source:
            await sink.send(chunk)
    with suppress(*BROKEN):
        if isinstance(sink, SocketStream):
            await sink.send_eof()


async def _answers(port: int) -> bool:
    with suppress(*BROKEN), anyio.move_on_after(CHECK_S):
        async with await anyio.connect_tcp("127.0.0.1", port) as wire:
            await wire.send(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
            return b" 200 " in (await wire.receive()).partition(b"\r\n")[0]
    return False


@asynccontextmanager
async def balancing(port: int, behind: Sequence[tuple[int, int]]) -> AsyncIterator[Balancer]:
    made = Balancer(port=port, behind=[Behind(port=inner, asked=people) for inner, people in behind])
    listener = await anyio.create_tcp_listener(
        local_host="127.0.0.1", local_port=port, family=socket.AF_INET, backlog=1024
    )
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, made.take)
        for one in made.behind:
            tasks.start_soon(made.check, one)
        yield made
        tasks.cancel_scope.cancel()
