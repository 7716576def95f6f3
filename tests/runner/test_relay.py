"""The relay's program, as a process: whom it serves, what it holds, whom it forgets."""

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from urllib.parse import urlsplit

import anyio
import anyio.abc
import pytest
from anyio.abc import SocketStream

from tests.fakes.relay import relay
from tests.ports import free_port
from tests.waiting import until

pytestmark = pytest.mark.node
MOST = 128


class Plane:
    """Echoes what it gets, and keeps it. It may be down."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.heard: list[bytes] = []
        self.came = 0

    @asynccontextmanager
    async def up(self) -> AsyncIterator[None]:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=self.port, reuse_port=True)
        async with listener, anyio.create_task_group() as serving:
            serving.start_soon(listener.serve, self._echo)
            yield
            serving.cancel_scope.cancel()

    async def _echo(self, client: SocketStream) -> None:
        self.came += 1
        async with client:
            with suppress(anyio.BrokenResourceError):
                async for chunk in client:
                    self.heard.append(chunk)
                    await client.send(chunk)


@pytest.fixture
def plane() -> Plane:
    return Plane(free_port("127.0.0.1"))


async def at(origin: str, host: str = "127.0.0.1") -> SocketStream:
    return await anyio.connect_tcp(host, urlsplit(origin).port or 0)


async def told(client: SocketStream) -> bytes | None:
    """What came next; None when the connection was cut or ended."""
    with anyio.fail_after(20):
        try:
            return await client.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return None


async def served(origin: str, host: str) -> bool:
    try:
        async with await at(origin, host) as client:
            await client.send(b"anybody?")
            return await told(client) == b"anybody?"
    except (OSError, anyio.BrokenResourceError):
        return False


async def test_it_carries_both_ways_and_the_end_of_one(plane: Plane) -> None:
    async with plane.up(), relay(plane.port) as origin, await at(origin) as client:
        await client.send(b"a question")
        assert await told(client) == b"a question"
        await client.send(b"the last one")
        await client.send_eof()
        assert [await told(client), await told(client)] == [b"the last one", None]


async def test_a_plane_that_is_away_is_a_pause(plane: Plane) -> None:
    async with relay(plane.port) as origin, await at(origin) as client:
        await client.send(b"early")
        async with plane.up():
            assert await told(client) == b"early"
        assert await told(client) is None
        async with await at(origin) as again:
            await again.send(b"again")
            async with plane.up():
                assert await told(again) == b"again"


async def test_one_who_left_meanwhile_is_not_delivered(plane: Plane) -> None:
    async with relay(plane.port) as origin:
        async with await at(origin) as gone:
            await gone.send(b"pay twice")
        async with await at(origin) as reset:
            await reset.send(b"pay twice")
            linger = reset.extra(anyio.abc.SocketAttribute.raw_socket)
            linger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        async with await at(origin) as stays:
            await stays.send(b"pay once")
            async with plane.up():
                assert await told(stays) == b"pay once"
                assert plane.heard == [b"pay once"]


async def test_what_was_held_too_long_is_cut(plane: Plane) -> None:
    async with relay(plane.port, hold_ms=300) as origin, await at(origin) as client:
        assert await told(client) is None


async def test_only_an_inner_address_is_served(plane: Plane) -> None:
    async with plane.up(), relay(plane.port, inner="127.0.0.2/32") as origin:
        assert not await served(origin, "127.0.0.1")
        assert await served(origin, "127.0.0.2")
        assert plane.came == 1


async def test_an_agent_that_opens_connections_without_end_takes_nobody_else_s(plane: Plane) -> None:
    async with plane.up(), relay(plane.port) as origin, AsyncExitStack() as stack:
        for _ in range(MOST):
            client = await stack.enter_async_context(await at(origin, "127.0.0.2"))
            await client.send(b"x")
            assert await told(client) == b"x"
        assert not await served(origin, "127.0.0.2")
        assert await served(origin, "127.0.0.3")
        await client.aclose()
        await until(partial(served, origin, "127.0.0.2"), 20, what="the room of one who left")
