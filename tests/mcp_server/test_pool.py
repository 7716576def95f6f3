"""HTTP to an upstream, against sockets that answer byte by byte as the test says."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import SocketStream, TaskStatus

from mcp_server.upstream.pool import NotConnected, Pool

MEASURED = b"HTTP/1.1 200 OK\r\nContent-Type: Application/JSON; charset=utf-8\r\nContent-Length: 2\r\n\r\n{}"
UNMEASURED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"
EARLY = b"HTTP/1.1 100 Continue\r\nx-early: 1\r\n\r\n"


class Server:
    """Answers each request with the next of `answers`; a connection ends after the last one. `asked` is what came."""

    def __init__(self, answers: Sequence[bytes]) -> None:
        self.answers = list(answers)
        self.asked: list[bytes] = []
        self.connections = 0

    async def serve(self, *, task_status: TaskStatus[int]) -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        task_status.started(listener.extra(anyio.abc.SocketAttribute.local_port))
        async with listener:
            await listener.serve(self._connection)

    async def _connection(self, stream: SocketStream) -> None:
        self.connections += 1
        async with stream:
            while self.answers:
                try:
                    self.asked.append(await stream.receive())
                except anyio.EndOfStream:
                    return
                await stream.send(self.answers.pop(0))


@asynccontextmanager
async def pool(*answers: bytes, **headers: str) -> AsyncIterator[tuple[Pool, Server]]:
    server = Server(answers)
    async with anyio.create_task_group() as listening:
        port = await listening.start(server.serve)
        async with Pool(f"http://me:p%40ss@127.0.0.1:{port}/mcp?a=b", headers) as made:
            with anyio.fail_after(30):
                yield made, server
        listening.cancel_scope.cancel()


async def body(made: Pool, **headers: str) -> bytes:
    found = b""
    async with made.ask("POST", headers, b"[]") as answer:
        while chunk := await answer.chunk():
            found += chunk
    return found


async def test_one_connection_serves_one_request_after_another() -> None:
    async with pool(MEASURED, CHUNKED, EARLY + MEASURED, MEASURED) as (made, server):
        assert [await body(made) for _ in range(3)] == [b"{}"] * 3
        assert server.connections == 1


async def test_a_request_says_where_it_goes_who_asks_and_what_the_settings_add() -> None:
    async with (
        pool(MEASURED, Accept="text/plain", token="t") as (made, server),
        made.ask("POST", {"x": "y"}, b"[]") as answer,
    ):
        assert (answer.status, answer.content_type) == (200, "application/json")
    head, _, sent = server.asked[0].partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /mcp?a=b HTTP/1.1"
    assert {b"authorization: Basic bWU6cEBzcw==", b"accept: text/plain", b"token: t", b"x: y"} < set(lines)
    assert sent == b"[]"


async def test_a_body_may_be_as_long_as_its_connection() -> None:
    async with pool(UNMEASURED, MEASURED) as (made, server):
        server.answers.pop()
        assert await body(made) == b"{"


@pytest.mark.parametrize(
    "answer",
    [MEASURED[:-1], CHUNKED[:-5], b"", b"SSH-2.0\r\n", b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20_000],
    ids=["short of its length", "no last chunk", "nothing", "another protocol", "headers without end"],
)
async def test_an_answer_that_is_not_whole_is_a_broken_connection(answer: bytes) -> None:
    async with pool(answer) as (made, _):
        with pytest.raises(ConnectionError):
            await body(made)


async def test_a_second_answer_to_one_request_is_never_the_next_ones() -> None:
    async with pool(MEASURED + MEASURED.replace(b"{}", b"[]"), MEASURED, MEASURED) as (made, server):
        with pytest.raises(ConnectionError):
            await body(made)
        assert await body(made) == b"{}"
        assert server.connections == 2


@pytest.mark.parametrize("value", ["a\r\nx: y", "a\ny", "a\0"])
async def test_a_header_that_would_be_two_is_not_sent(value: str) -> None:
    async with pool(MEASURED) as (made, server):
        with pytest.raises(NotConnected):
            await body(made, note=value)
        assert server.asked == []


async def test_nobody_there_means_nothing_was_sent() -> None:
    async with Pool("http://127.0.0.1:1/", {}) as made:
        with pytest.raises(NotConnected):
            await body(made)
