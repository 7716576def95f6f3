"""We stop under a hundred waiting calls and come back: nothing is lost, nothing is asked twice, nothing runs twice."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
import sqlalchemy as sa
from mcp.client import Client

from control import tables
from control.approvals import desk
from control.identity.charter import Gate, ToolGrant
from mcp_server.settings import UpstreamServer
from tests.mcp_server.fake import fake
from tests.mcp_server.plane import ERAS, Era, Plane, plane, text_of

AGENTS, EACH = 10, 10
GATED = ToolGrant(server="fake", tool="whole", approval=Gate(group="finance"))


@asynccontextmanager
async def calling(house: Plane, tokens: list[str], era: Era, said: list[str]) -> AsyncIterator[None]:
    """All agents call inside of this context, and have their answers after it."""

    async def agent(token: str) -> None:
        async with house.client(token, era) as client, anyio.create_task_group() as calls:
            for number in range(EACH):
                calls.start_soon(call, client, number)

    async def call(client: Client, number: int) -> None:
        said.append(text_of(await client.call_tool("whole", {"note": number})))

    async with anyio.create_task_group() as agents:
        for token in tokens:
            agents.start_soon(agent, token)
        yield


@pytest.mark.parametrize("era", ERAS)
async def test_a_hundred_waiting_calls_survive_a_restart(tmp_path: Path, era: Era) -> None:
    async with fake() as (server, url):
        settings = UpstreamServer.model_validate({"url": url})
        told: list[str] = []
        async with plane(tmp_path, fake=settings) as house:
            tokens = [(await house.enrolled(GATED))[1] for _ in range(AGENTS)]
            async with calling(house, tokens, era, told):
                before = await house.rows(
                    tables.approvals, desk.TOPIC, AGENTS * EACH, tables.approvals.c.status == "pending"
                )
                began = anyio.current_time()
                house.endpoint.drain()
            stopping = anyio.current_time()
        assert len(told) == AGENTS * EACH
        assert all("Call the tool again with the same arguments" in text for text in told)
        assert anyio.current_time() - began < 5
        assert anyio.current_time() - stopping < 5
        answers: list[str] = []
        async with plane(tmp_path, fake=settings) as house:
            async with calling(house, tokens, era, answers):
                reattached = tables.events.c.type == "tool.reattached"
                await house.rows(tables.events, desk.TOPIC, AGENTS * EACH, reattached)
                still = await house.pending(AGENTS * EACH)
                for approval in still:
                    await house.decide(approval)
            calls = await house.db.read(sa.select(tables.tool_calls.c.status))
        assert {row.id for row in still} == {row.id for row in before}
        assert answers == ["whole"] * (AGENTS * EACH)
        assert [row.status for row in calls] == ["succeeded"] * (AGENTS * EACH)
        assert len(server.calls) == AGENTS * EACH
