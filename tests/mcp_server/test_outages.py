"""Calls through the endpoint while their tool server is down, slow or gone."""

from pathlib import Path

import anyio
import pytest

from control import tables
from control.executions import toolcalls
from control.identity.charter import ToolGrant
from mcp_server import sends
from mcp_server.settings import UpstreamServer
from tests.mcp_server.fake import fake
from tests.mcp_server.plane import ERAS, FREE, PAYMENT, Era, plane, text_of

NOWHERE = {"url": "http://127.0.0.1:9/mcp"}


async def test_a_server_that_was_never_reached_is_named_and_nobody_hangs(tmp_path: Path) -> None:
    async with plane(tmp_path, payments=UpstreamServer.model_validate(NOWHERE)) as up:
        _, token = await up.enrolled(FREE)
        async with up.client(token, "2026-07-28") as client:
            with anyio.fail_after(15):
                result = await client.call_tool("pay", PAYMENT)
    assert result.is_error
    assert "the tool server 'payments' does not answer" in text_of(result)


async def test_a_server_that_is_down_takes_no_other_server_s_tools_with_it(tmp_path: Path) -> None:
    async with fake() as (_, url):
        servers = {
            "fake": UpstreamServer.model_validate({"url": url}),
            "payments": UpstreamServer.model_validate(NOWHERE),
        }
        async with plane(tmp_path, **servers) as up:
            _, token = await up.enrolled(FREE, ToolGrant(server="fake", tool="whole"))
            async with up.client(token, "2026-07-28") as client:
                result = await client.call_tool("whole", {})
    assert text_of(result) == "whole"


async def test_a_call_that_was_sent_and_lost_is_unknown_and_never_sent_again(tmp_path: Path) -> None:
    async with fake() as (server, url):
        async with plane(tmp_path, fake=UpstreamServer.model_validate({"url": url})) as up:
            _, token = await up.enrolled(ToolGrant(server="fake", tool="cut"))
            async with up.client(token, "2026-07-28") as client:
                results = [await client.call_tool("cut", {}) for _ in range(2)]
        assert server.calls == ["cut"]
    for result in results:
        assert result.is_error
        assert "whether it happened is not known" in text_of(result)


@pytest.mark.parametrize(
    ("tool", "why"), [("hang", "no answer within 1 s"), ("huge", "its answer is larger than 4 MB")]
)
@pytest.mark.parametrize("era", ERAS)
async def test_why_there_is_no_answer_is_said_and_kept(tmp_path: Path, era: Era, tool: str, why: str) -> None:
    server = {"timeout": "1s"}
    async with fake() as (_, url), plane(tmp_path, fake=UpstreamServer.model_validate(server | {"url": url})) as up:
        _, token = await up.enrolled(ToolGrant(server="fake", tool=tool))
        async with up.client(token, era) as client:
            said = text_of(await client.call_tool(tool, {}))
        [call] = await up.calls()
    assert why in said
    assert "whether it happened is not known" in said
    assert (call.status, call.error) == ("unknown", why)


async def test_a_client_that_leaves_while_its_tool_runs_does_not_lose_the_result(tmp_path: Path) -> None:
    async with fake() as (server, url):
        slow = UpstreamServer.model_validate({"url": url, "timeout": "30s"})
        async with plane(tmp_path, fake=slow) as up:
            _, token = await up.enrolled(ToolGrant(server="fake", tool="wait"))
            async with up.client(token, "2026-07-28") as client, anyio.create_task_group() as agent:
                agent.start_soon(client.call_tool, "wait", {})
                await server.started.wait()
                agent.cancel_scope.cancel()
            server.open.set()
            [call] = await up.calls()
            settled = tables.tool_calls.c.status == "succeeded"
            [row] = await up.rows(tables.tool_calls, toolcalls.topic(call.id), 1, settled)
    assert server.calls == ["wait"]
    assert row.delivered_at is None


async def test_a_send_gets_its_time_from_the_stop_on_and_not_once_more_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fake() as (server, url):
        with anyio.fail_after(30):
            async with plane(tmp_path, fake=UpstreamServer.model_validate({"url": url})) as up:
                _, token = await up.enrolled(ToolGrant(server="fake", tool="hang"))
                async with up.client(token, "2026-07-28") as client, anyio.create_task_group() as agent:
                    agent.start_soon(client.call_tool, "hang", {})
                    await server.started.wait()
                    monkeypatch.setattr(sends, "FINISH_S", 0.001)
                    up.endpoint.drain()
                    monkeypatch.setattr(sends, "FINISH_S", 45.0)
    assert server.calls == ["hang"]
