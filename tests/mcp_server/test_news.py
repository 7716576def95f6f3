"""Other tools are served than before: every client hears of it on the stream it has, and what it hears is so."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx2
import pytest
from mcp.shared.subscriptions import ToolsListChanged
from sqlalchemy.engine import Row

from control import tables
from control.approvals import pins
from control.identity.charter import ToolGrant
from mcp_server.settings import UpstreamServer
from mcp_server.upstream import upstream as upstreams
from tests.mcp_server.fake import SCHEMA, Fake, fake
from tests.mcp_server.plane import ACCOUNT, Plane, plane
from tests.mcp_server.test_resume import STALE, agent, events, initialize

ALL = ToolGrant(server="fake", tool="*")
OTHER = ToolGrant(server="elsewhere", tool="*")
WHOLE = {"name": "whole", "inputSchema": SCHEMA}
CHANGED = WHOLE | {"description": "Also reads your mail."}
OLDER = ("2025-03-26", "2025-06-18", "2025-11-25")


@pytest.fixture
async def up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Plane, Fake]]:
    monkeypatch.setattr(upstreams, "RELIST_S", 0.05)
    async with fake() as (server, url):
        server.tools = [WHOLE]
        async with plane(tmp_path, fake=UpstreamServer.model_validate({"url": url})) as house:
            await defined(house, "accepted")
            yield house, server


Up = tuple[Plane, Fake]


async def defined(house: Plane, status: str) -> Row[object]:
    [row] = await house.rows(tables.definitions, pins.TOPIC, 1, tables.definitions.c.status == status)
    return row


async def accept(house: Plane, digest: str) -> None:
    await house.db.write(lambda tx: pins.accept(tx, ACCOUNT, "fake", "whole", digest=digest, by="alice"))


@asynccontextmanager
async def listening(http: httpx2.AsyncClient, headers: dict[str, str]) -> AsyncIterator[AsyncIterator[str]]:
    """The methods of what comes on an open stream."""
    async with http.stream("GET", "", headers=headers) as answer:
        assert answer.status_code == 200
        with anyio.fail_after(15):
            yield (json.loads(event["data"])["method"] async for event in events(answer) if event.get("data"))


async def offered(http: httpx2.AsyncClient, headers: dict[str, str]) -> list[str]:
    answer = await http.post("", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, headers=headers)
    text = answer.text.partition("data: ")[2] or answer.text
    return [tool["name"] for tool in json.loads(text)["result"]["tools"]]


@pytest.mark.parametrize("version", OLDER)
async def test_a_stream_of_the_older_wire_hears_of_quarantine_and_acceptance(up: Up, version: str) -> None:
    house, server = up
    _, token = await house.enrolled(ALL)
    async with agent(house, token) as http:
        headers = await initialize(http, version)
        assert await offered(http, headers) == ["whole"]
        async with listening(http, headers) as heard:
            server.tools = [CHANGED]
            assert await anext(heard) == "notifications/tools/list_changed"
            assert await offered(http, headers) == []
            await accept(house, str((await defined(house, "quarantined")).digest))
            assert await anext(heard) == "notifications/tools/list_changed"
            while await offered(http, headers) == []:
                assert await anext(heard) == "notifications/tools/list_changed"


async def test_a_stream_under_a_session_of_the_process_before_us_hears_too(up: Up) -> None:
    house, server = up
    _, token = await house.enrolled(ALL)
    async with agent(house, token) as http, listening(http, STALE) as heard:
        server.tools = []
        assert await anext(heard) == "notifications/tools/list_changed"


async def test_a_session_with_nothing_to_do_with_the_server_hears_nothing(up: Up) -> None:
    house, server = up
    _, token = await house.enrolled(OTHER)
    _, told = await house.enrolled(ALL)
    async with (
        agent(house, token) as http,
        agent(house, told) as one,
        http.stream("GET", "", headers=STALE) as answer,
        listening(one, STALE) as heard,
    ):
        server.tools = [CHANGED]
        await anext(heard)
        house.endpoint.drain()
        assert b"data" not in await answer.aread()


@pytest.mark.parametrize("version", OLDER)
async def test_what_is_promised_is_what_is_done(up: Up, version: str) -> None:
    house, _ = up
    _, token = await house.enrolled(ALL)
    params = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    async with agent(house, token) as http:
        answer = await http.post("", json={"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})
    promised = json.loads(answer.text.partition("data: ")[2] or answer.text)["result"]["capabilities"]
    assert [promised[kind]["listChanged"] for kind in ("tools", "prompts", "resources")] == [True, True, True]


async def test_a_client_of_the_newest_revision_hears_of_what_an_admin_accepted(up: Up) -> None:
    house, server = up
    _, token = await house.enrolled(ALL)
    server.tools = [CHANGED]
    row = await defined(house, "quarantined")
    async with house.client(token, "2026-07-28") as client, client.listen(tools_list_changed=True) as news:
        await accept(house, str(row.digest))
        with anyio.fail_after(15):
            async for event in news:
                assert event == ToolsListChanged()
                if [tool.name for tool in (await client.list_tools()).tools]:
                    break
