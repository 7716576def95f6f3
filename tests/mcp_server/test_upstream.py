"""The connection to a tool server: what each failure is called, and that one failure is nobody else's."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from mcp_server.settings import UpstreamServer
from mcp_server.upstream.upstream import Answered, Lost, NotSent, Outcome, Upstream
from tests.mcp_server.fake import TOOLS, Fake, fake


@pytest.fixture
async def up() -> AsyncIterator[tuple[Fake, Upstream]]:
    async with fake() as (server, url), connected(url) as upstream:
        assert await upstream.ready(5)
        yield server, upstream


@asynccontextmanager
async def connected(url: str, timeout: str = "1s") -> AsyncIterator[Upstream]:
    upstream = Upstream("fake", UpstreamServer.model_validate({"url": url, "timeout": timeout}))
    async with anyio.create_task_group() as supervised:
        supervised.start_soon(upstream.run)
        yield upstream
        supervised.cancel_scope.cancel()


async def test_its_tools_are_known_once_it_is_ready(up: tuple[Fake, Upstream]) -> None:
    _, upstream = up
    assert upstream.definitions is not None
    assert set(upstream.definitions) == set(TOOLS)


async def test_a_definition_comes_byte_for_byte(up: tuple[Fake, Upstream]) -> None:
    server, upstream = up
    assert upstream.definitions is not None
    assert upstream.definitions["whole"].raw == server.tools[0]


async def test_a_result_comes_as_it_was_sent(up: tuple[Fake, Upstream]) -> None:
    _, upstream = up
    assert await upstream.call("nulls", {}) == Answered(
        result={"content": [{"type": "text", "text": "nulls"}], "structuredContent": {"a": None, "b": [None]}}
    )


@pytest.mark.parametrize(
    ("tool", "outcome"),
    [
        ("hang", Lost(reason="no answer within 1 s")),
        ("huge", Lost(reason="its answer is larger than 4 MB")),
        ("redirect", NotSent(reason="it redirects, and redirects are not followed")),
    ],
)
async def test_a_failure_says_whether_the_call_can_have_happened(
    up: tuple[Fake, Upstream], tool: str, outcome: Outcome
) -> None:
    _, upstream = up
    with anyio.fail_after(8):
        assert await upstream.call(tool, {}) == outcome


async def test_an_answer_that_breaks_off_is_lost_and_is_not_asked_for_again(up: tuple[Fake, Upstream]) -> None:
    server, upstream = up
    assert isinstance(await upstream.call("cut", {}), Lost)
    assert server.calls == ["cut"]


async def test_one_broken_answer_leaves_the_other_calls_alone(up: tuple[Fake, Upstream]) -> None:
    server, upstream = up
    outcomes: list[Outcome] = []

    async def call(tool: str) -> None:
        outcomes.append(await upstream.call(tool, {}))

    async with anyio.create_task_group() as calls:
        calls.start_soon(call, "hang")
        await server.started.wait()
        calls.start_soon(call, "cut")
    assert Lost(reason="no answer within 1 s") in outcomes
    assert isinstance(await upstream.call("whole", {}), Answered)


async def test_a_server_that_forgot_our_session_gets_a_new_one_and_the_call(up: tuple[Fake, Upstream]) -> None:
    server, upstream = up
    assert isinstance(await upstream.call("forget", {}), Answered)
    assert (server.calls, server.sessions) == (["forget", "forget"], 2)


@pytest.mark.parametrize(("tool", "said"), [("refuse", "the vault is closed"), ("malformed", "no tool result")])
async def test_errors_of_the_protocol_become_results_a_model_can_read(
    up: tuple[Fake, Upstream], tool: str, said: str
) -> None:
    _, upstream = up
    outcome = await upstream.call(tool, {})
    assert isinstance(outcome, Answered)
    assert outcome.result["isError"]
    assert said in outcome.result["content"][0]["text"]


async def test_a_server_that_is_down_is_said_so_and_comes_back_by_itself() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/mcp"
    async with connected(url) as upstream:
        with anyio.fail_after(5):
            outcome = await upstream.call("whole", {})
    assert isinstance(outcome, NotSent)
    assert "no connection" in outcome.reason


async def test_a_tool_that_is_not_what_was_asked_about_is_not_called(up: tuple[Fake, Upstream]) -> None:
    server, upstream = up
    assert await upstream.call("whole", {}, digest="0" * 64) == NotSent(reason="the tool changed just now")
    assert server.calls == []


async def test_many_who_ask_at_once_share_a_few_readings(up: tuple[Fake, Upstream]) -> None:
    server, upstream = up
    before = server.listed
    async with anyio.create_task_group() as asking:
        for _ in range(100):
            asking.start_soon(upstream.reread)
    assert 1 <= server.listed - before <= 2
