"""Streams of the older wire that break and are taken up again, by this process or by one that never saw them."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
import pytest
from starlette.types import Message

from control import tables
from control.approvals.desk import Verdict
from control.executions import toolcalls
from control.identity import sessions
from control.identity.charter import Charter
from control.identity.doorkeeper import Listener
from control.identity.principals import Principal
from mcp_server import resume
from mcp_server.exchange import Exchange
from mcp_server.resume import Trail
from tests.mcp_server.plane import FREE, GATED, PAYMENT, Payments, Plane
from tests.waiting import until

ACCEPT = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
STALE = {"Mcp-Session-Id": "of-a-process-that-is-gone"}


@asynccontextmanager
async def agent(house: Plane, token: str) -> AsyncIterator[httpx2.AsyncClient]:
    headers = ACCEPT | {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(
        verify=False, base_url=house.urls[Listener.PEOPLE], headers=headers, timeout=30
    ) as http:
        yield http


async def initialize(http: httpx2.AsyncClient, version: str) -> dict[str, str]:
    """The headers of a session of the transport."""
    params = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    asked = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
    answer = await http.post("", json=asked)
    answer.raise_for_status()
    headers = {"Mcp-Session-Id": answer.headers["mcp-session-id"], "MCP-Protocol-Version": version}
    done = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert (await http.post("", json=done, headers=headers)).status_code == 202
    return headers


def pay(request_id: int | str, **meta: object) -> dict[str, Any]:
    params = {"name": "pay", "arguments": PAYMENT, "_meta": meta}
    return {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params}


async def events(answer: httpx2.Response) -> AsyncIterator[dict[str, str]]:
    """A stream's events as their fields; comments are left out."""
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line == "" and fields:
            yield fields
            fields = {}
        elif line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name.rstrip(":")] = value


async def broken(house: Plane, http: httpx2.AsyncClient, request_id: int | str, version: str = "2025-06-18") -> str:
    """The id of the last event on the stream of a gated call, which somebody waits for until it breaks."""
    headers = await initialize(http, version)
    async with http.stream("POST", "", json=pay(request_id, progressToken="p"), headers=headers) as answer:
        async for event in events(answer):
            [approval] = await house.pending()
            assert house.endpoint.calls.sends.followed(approval.call_id)
            return event["id"]
    raise AssertionError("the stream said nothing")


def unexpected(body: bytes) -> list[str]:
    """What an idle stream said besides the news that tools changed: they may be read only after it was opened."""
    said = [line.removeprefix("data: ") for line in body.decode().splitlines() if line.startswith("data:")]
    return [data for data in said if json.loads(data).get("method") != "notifications/tools/list_changed"]


@pytest.mark.parametrize("request_id", [3, "three", 'with "quotes", a.dot and ümlaut'])
async def test_a_broken_stream_goes_on_under_a_session_nobody_knows(
    house: Plane, payments: Payments, request_id: int | str
) -> None:
    _, token = await house.enrolled(GATED)
    async with agent(house, token) as http:
        last = await broken(house, http, request_id)
        headers = STALE | {"Last-Event-ID": last}
        with anyio.fail_after(10):
            async with http.stream("GET", "", headers=headers) as answer:
                assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
                [approval] = await house.pending()
                await house.decide(approval)
                *reports, final = [event async for event in events(answer)]
    message = json.loads(final["data"])
    assert message["id"] == request_id
    assert message["result"]["structuredContent"]["status"] == "completed"
    assert len(payments.made()) == 1
    [call] = await house.rows(tables.tool_calls, toolcalls.topic(""), 1, tables.tool_calls.c.delivered_at.is_not(None))
    assert call.status == "succeeded"
    counts = [json.loads(report["data"])["params"]["progress"] for report in reports]
    assert counts
    assert counts[0] > 1, "progress never goes back"


async def test_nobody_waits_for_a_client_that_left_its_session(house: Plane) -> None:
    _, token = await house.enrolled(GATED)
    async with agent(house, token) as http:
        await broken(house, http, 3)
        [approval] = await house.pending()
        assert await until(lambda: not house.endpoint.calls.sends.followed(approval.call_id), what="nobody to wait")


async def test_the_answer_that_came_while_nobody_listened_is_there(house: Plane, payments: Payments) -> None:
    _, token = await house.enrolled(GATED)
    async with agent(house, token) as http:
        last = await broken(house, http, 3)
        [approval] = await house.pending()
        await house.decide(approval, Verdict.DECLINED, "over budget")
        answer = await http.get("", headers=STALE | {"Last-Event-ID": last})
    [final] = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    assert json.loads(final)["result"]["isError"]
    assert "over budget" in final
    assert payments.made() == []


async def test_only_the_session_that_made_the_call_may_take_it_up(house: Plane) -> None:
    _, owner = await house.enrolled(GATED)
    _, other = await house.enrolled(GATED)
    async with agent(house, owner) as http:
        last = await broken(house, http, 3)
    async with agent(house, other) as http:
        assert (await http.get("", headers=STALE | {"Last-Event-ID": last})).status_code == 404
        unknown = Trail(call="tcl_unknown", request_id=3).event_id(1)
        assert (await http.get("", headers=STALE | {"Last-Event-ID": str(unknown)})).status_code == 404


async def test_a_session_of_the_transport_is_of_no_use_to_another_agent(house: Plane) -> None:
    _, owner = await house.enrolled(FREE)
    _, other = await house.enrolled(GATED)
    async with agent(house, owner) as http:
        headers = await initialize(http, "2025-06-18")
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    async with agent(house, other) as http:
        answer = await http.post("", json=asked, headers=headers)  # served, but as what it is: no session at all
    assert "Needs a person's approval" in answer.text


async def test_from_2025_11_25_on_a_stream_can_be_taken_up_before_anything_was_said(house: Plane) -> None:
    _, token = await house.enrolled(GATED)
    async with agent(house, token) as http:
        headers = await initialize(http, "2025-11-25")
        async with http.stream("POST", "", json=pay(3), headers=headers) as answer:
            async for event in events(answer):
                assert event["data"] == ""
                assert event["retry"] == "1000"
                found = resume.trail(event["id"])
                assert found is not None
                assert (found.request_id, found.progress) == (3, None)
                break


async def test_a_plain_stale_stream_idles_until_its_session_ends(house: Plane) -> None:
    session, token = await house.enrolled(FREE)
    async with agent(house, token) as http, http.stream("GET", "", headers=STALE) as answer:
        assert answer.status_code == 200
        await house.db.write(lambda tx: sessions.revoke(tx, session))
        with anyio.fail_after(10):
            assert unexpected(await answer.aread()) == []


@pytest.mark.parametrize("known", [True, False])
async def test_a_listening_stream_ends_when_we_stop(house: Plane, known: bool) -> None:
    _, token = await house.enrolled(FREE)
    async with agent(house, token) as http:
        headers = await initialize(http, "2025-06-18") if known else STALE
        async with http.stream("GET", "", headers=headers) as answer:
            assert answer.status_code == 200
            house.endpoint.drain()
            with anyio.fail_after(10):
                assert unexpected(await answer.aread()) == []


async def test_a_stale_delete_and_a_stale_call_are_served(house: Plane, payments: Payments) -> None:
    _, token = await house.enrolled(FREE)
    async with agent(house, token) as http:
        assert (await http.delete("", headers=STALE)).status_code == 200
        answer = await http.post("", json=pay(3), headers=STALE)
    assert answer.status_code == 200
    assert len(payments.made()) == 1


@pytest.mark.parametrize(
    "text", ["", "7", "tcl_a", "tcl_a.1", "tcl_a.x.[1,null]", "tcl_a.1.[1]", "tcl_a.1.[true,null]", "ses_a.1.[1,null]"]
)
def test_an_id_that_is_not_ours_names_nothing(text: str) -> None:
    assert resume.trail(text) is None


def test_an_id_too_long_to_travel_is_not_given() -> None:
    assert Trail(call="tcl_a", request_id="x" * 1000).event_id(1) is None


async def test_a_stream_begins_with_what_makes_it_resumable() -> None:
    """Whoever read headers and no id would wait for ever when we are killed between the two."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def silence() -> Message:
        await anyio.sleep_forever()
        return {}

    charter = Charter(flow="pays", tools=(), models=())
    agent = Principal(account_id="acc", session_id="ses_1", execution_id=None, name="agent", charter=charter)
    exchange = Exchange(agent, silence, b"", silence, send, None)
    exchange.holds = True
    await exchange.send({"type": "http.response.start", "status": 200, "headers": []})
    assert sent == []
    exchange.follow(Trail(call="tcl_1", request_id=7), primes=True)
    await exchange.open()
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[1]["body"].startswith(b"id: tcl_1.1.")
