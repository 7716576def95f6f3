"""The door itself: who is let in, what is refused before the protocol begins, and when an answer's headers go out."""

import json
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
import sqlalchemy as sa

from control import tables
from control.identity.charter import ToolGrant
from control.identity.doorkeeper import Listener
from mcp_server import exchange
from mcp_server.answers import RECEIPT
from mcp_server.settings import UpstreamServer
from tests.mcp_server.plane import ERAS, FREE, GATED, PAYMENT, Era, Payments, Plane, payments_server, plane

ACCEPT = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
MODERN = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "pay"}
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


def call_body(era: Era, arguments: str) -> str:
    """A tools/call as raw text, with no progress token: nobody asked for notifications."""
    meta = f', "_meta": {json.dumps(META)}' if era != "legacy" else ""
    params = f'{{"name": "pay", "arguments": {arguments}{meta}}}'
    return f'{{"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {params}}}'


def headers(token: str, era: Era) -> dict[str, str]:
    return ACCEPT | {"Authorization": f"Bearer {token}"} | (MODERN if era != "legacy" else {})


def message_of(text: str) -> dict[str, Any]:
    """The JSON-RPC answer, whether it came as a body or as the last event of a stream."""
    data = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    message: dict[str, Any] = json.loads(data[-1] if data else text)
    return message


@pytest.mark.parametrize("token", [None, "nonsense", "pl.e.y"])
async def test_without_a_good_token_nobody_gets_in(house: Plane, token: str | None) -> None:
    sent = ACCEPT | ({"Authorization": f"Bearer {token}"} if token is not None else {})
    async with httpx2.AsyncClient(verify=False) as http:
        for url in house.urls.values():
            answer = await http.post(url, headers=sent, json={})
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json().keys() >= {"type", "title", "status", "detail", "code", "hint"}


async def test_a_token_of_one_listener_is_refused_by_the_other(house: Plane) -> None:
    _, enrolled = await house.enrolled(FREE)
    _, _, runtime = await house.execution(FREE)
    async with httpx2.AsyncClient(verify=False) as http:
        for listener, token in ((Listener.CONTAINERS, enrolled), (Listener.PEOPLE, runtime)):
            answer = await http.post(house.urls[listener], headers=headers(token, "legacy"), json={})
            assert answer.status_code == 401


async def test_there_is_nothing_to_get_or_to_delete(house: Plane) -> None:
    _, token = await house.enrolled(FREE)
    async with httpx2.AsyncClient(verify=False, headers=headers(token, "legacy")) as http:
        for method in ("GET", "DELETE"):
            assert (await http.request(method, house.urls[Listener.PEOPLE])).status_code == 405


@pytest.mark.parametrize("era", ERAS)
async def test_a_host_that_is_not_ours_is_refused(house: Plane, era: Era) -> None:
    _, token = await house.enrolled(FREE)
    async with httpx2.AsyncClient(verify=False, headers=headers(token, era) | {"Host": "evil.example"}) as http:
        answer = await http.post(house.urls[Listener.PEOPLE], content=call_body(era, "{}"))
        assert answer.status_code == 421


async def test_a_body_without_end_is_refused(house: Plane) -> None:
    _, token = await house.enrolled(FREE)
    async with httpx2.AsyncClient(verify=False, headers=headers(token, "legacy")) as http:
        answer = await http.post(house.urls[Listener.PEOPLE], content=b" " * (exchange.MAX_BODY + 1))
        assert answer.status_code == 413


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ('{"recipient": "a@example.com", "amount": 1, "amount": 1000}', "same key twice"),
        ('{"recipient": "a@example.com", "amount": 9007199254740993}', "beyond 2^53"),
    ],
)
async def test_arguments_that_read_two_ways_are_refused(
    house: Plane, payments: Payments, era: Era, arguments: str, said: str
) -> None:
    _, token = await house.enrolled(FREE)
    async with httpx2.AsyncClient(verify=False, headers=headers(token, era)) as http:
        answer = await http.post(house.urls[Listener.PEOPLE], content=call_body(era, arguments))
    result = message_of(answer.text)["result"]
    assert result["isError"]
    assert said in result["content"][0]["text"]
    assert payments.made() == []


@pytest.mark.parametrize("era", ERAS)
async def test_a_tool_of_somebody_else_s_is_unknown_also_to_who_never_asked_for_the_list(
    house: Plane, payments: Payments, era: Era
) -> None:
    session, token = await house.enrolled(ToolGrant(server="payments", tool="get_contract"))
    await house.enrolled(FREE)
    async with httpx2.AsyncClient(verify=False, headers=headers(token, era)) as http:
        answer = await http.post(house.urls[Listener.PEOPLE], content=call_body(era, json.dumps(PAYMENT)))
        body = call_body(era, json.dumps(PAYMENT)).replace('"pay"', '"xyz"')
        unknown = await http.post(house.urls[Listener.PEOPLE], content=body, headers={"Mcp-Name": "xyz"})
    said, other = message_of(answer.text), message_of(unknown.text)
    assert said["result"]["content"][0]["text"] == "Tool 'pay' not found in allowed tools"
    receipts = [each["result"]["_meta"].pop(RECEIPT) for each in (said, other)]
    assert [receipt["stream"] for receipt in receipts] == [session, session]
    assert json.loads(json.dumps(said).replace("'pay'", "'xyz'")) == other
    assert payments.made() == []
    [row] = await house.db.read(sa.select(tables.sessions).where(tables.sessions.c.id == session))
    assert row.tools_listed_at is None


@pytest.mark.parametrize("era", ERAS)
async def test_a_waiting_call_is_a_stream_whose_headers_come_at_once(house: Plane, era: Era) -> None:
    _, token = await house.enrolled(GATED)
    body = call_body(era, json.dumps(PAYMENT))
    async with httpx2.AsyncClient(verify=False, headers=headers(token, era), timeout=10) as http:
        with anyio.fail_after(5):
            async with http.stream("POST", house.urls[Listener.PEOPLE], content=body) as answer:
                assert answer.headers["content-type"].startswith("text/event-stream")
                [approval] = await house.pending()
                await house.decide(approval)
                text = (await answer.aread()).decode()
    message = message_of(text)
    assert message["id"] == 7
    assert message["result"]["structuredContent"]["status"] == "completed"


async def test_listing_tools_is_remembered_of_the_session(house: Plane) -> None:
    session, token = await house.enrolled(FREE)
    async with house.client(token, "2026-07-28") as client:
        await client.list_tools()
    [row] = await house.db.read(sa.select(tables.sessions).where(tables.sessions.c.id == session))
    assert row.tools_listed_at is not None


async def test_two_servers_with_one_tool_are_told_apart(tmp_path: Path, payments: Payments) -> None:
    with payments_server(tmp_path) as bank:
        servers = {
            "payments": UpstreamServer.model_validate({"url": payments.url}),
            "bank": UpstreamServer.model_validate({"url": bank.url}),
        }
        async with plane(tmp_path, **servers) as up:
            _, token = await up.enrolled(ToolGrant(server="*", tool="pay"))
            async with up.client(token, "2026-07-28") as client:
                names = [tool.name for tool in (await client.list_tools()).tools]
                await client.call_tool("bank__pay", PAYMENT)
        assert names == ["bank__pay", "payments__pay"]
        assert (len(bank.made()), len(payments.made())) == (1, 0)
