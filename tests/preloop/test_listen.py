"""How answers leave: their heads together with what follows, and never later than that. How long containers may take to
ask."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import SocketStream
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from preloop.listen import Joined, Served, bind, listening, port_of

pytestmark = pytest.mark.anyio
HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


class Recording(asyncio.Transport):
    """Where the bytes go: each write is one system call."""

    def __init__(self) -> None:
        super().__init__()
        self.did: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.did.append(bytes(data))

    def close(self) -> None:
        self.did.append(b"closed")


@pytest.fixture
async def out() -> tuple[Recording, Joined]:
    recording = Recording()
    return recording, Joined(recording, asyncio.get_running_loop())


async def test_a_head_and_its_body_are_one_write(out: tuple[Recording, Joined]) -> None:
    recording, joined = out
    for _ in range(2):
        joined.write(HEAD)
        joined.write(b"ok")
    assert recording.did == [HEAD + b"ok"] * 2
    await anyio.lowlevel.checkpoint()
    assert len(recording.did) == 2


async def test_a_head_does_not_wait_for_a_body_that_is_late(out: tuple[Recording, Joined]) -> None:
    recording, joined = out
    joined.write(HEAD)
    assert not recording.did
    await anyio.lowlevel.checkpoint()
    assert recording.did == [HEAD]
    joined.write(b"ok")
    assert recording.did == [HEAD, b"ok"]


async def test_a_head_goes_out_before_its_connection_closes(out: tuple[Recording, Joined]) -> None:
    recording, joined = out
    joined.write(HEAD)
    joined.close()
    assert recording.did == [HEAD, b"closed"]
    await anyio.lowlevel.checkpoint()
    assert len(recording.did) == 2


@asynccontextmanager
async def guarded(head_s: float) -> AsyncIterator[SocketStream]:
    """A connection to a listener of containers, whose answers take longer than a head may."""

    async def slowly(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        with anyio.move_on_after(2 * head_s):
            await anyio.Event().wait()
        await PlainTextResponse("done")(scope, receive, send)

    with bind("127.0.0.1", 0) as sock:
        served = Served(app=slowly, sockets=[sock], take=lambda transport, early: transport.abort(), head_s=head_s)
        async with listening(served), await anyio.connect_tcp("127.0.0.1", port_of(sock)) as stream:
            with anyio.fail_after(10):
                yield stream


async def ends(stream: SocketStream) -> bool:
    try:
        return await stream.receive() == b""
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return True


@pytest.mark.parametrize("said", [b"", b"CON", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\n"])
async def test_a_container_that_does_not_finish_asking_is_not_waited_for(said: bytes) -> None:
    async with guarded(0.2) as stream:
        if said:
            await stream.send(said)
        assert await ends(stream)


async def test_an_answer_may_take_longer_and_the_next_head_is_watched_again() -> None:
    async with guarded(0.2) as stream:
        await stream.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = b""
        while not answer.endswith(b"done"):
            answer += await stream.receive()
        await stream.send(b"GET / HTTP/1.1\r\n")
        assert await ends(stream)


async def test_where_nobody_takes_tunnels_there_is_no_answer_to_one() -> None:
    async with guarded(5) as stream:
        await stream.send(b"CONNECT up.example:443 HTTP/1.1\r\n\r\n")
        assert await ends(stream)
