"""A plain call answered past the SDK reads like one the SDK answered, and what is not plain is the SDK's."""

import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2
import pytest

from control import tables
from control.executions import toolcalls
from control.identity.charter import ToolGrant
from control.identity.doorkeeper import Listener
from mcp_server.settings import UpstreamServer
from tests.mcp_server.fake import Fake, fake
from tests.mcp_server.plane import Era, Payments, Plane, plane

VERSION: Era = "2026-07-28"
META = "io.modelcontextprotocol/"
GRANTS = (ToolGrant(server="fake", tool="*"), ToolGrant(server="payments", tool="pay"))
TWICE = [("x-twice", "1"), ("x-twice", "2")]
"""Means nothing, and is reason enough to leave a request to the SDK."""
VOLATILE = ("preloop/call", "preloop/receipt")


@dataclass(frozen=True)
class Asking:
    """One request as it goes over the wire."""

    headers: Mapping[str, str]
    body: bytes

    def said(self) -> Any:
        return json.loads(self.body)


def asking(
    tool: str = "whole", arguments: object = None, request_id: object = 1, meta: Mapping[str, object] | None = None
) -> Asking:
    """What a client of the newest revision sends."""
    envelope: dict[str, object] = {f"{META}protocolVersion": VERSION, f"{META}clientCapabilities": {}}
    envelope |= {f"{META}clientInfo": {"name": "test", "version": "1"}} | dict(meta or {})
    params = {"name": tool, "arguments": {} if arguments is None else arguments, "_meta": envelope}
    body = {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params}
    headers = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
    headers |= {"mcp-protocol-version": VERSION, "mcp-method": "tools/call", "mcp-name": tool}
    return Asking(headers, json.dumps(body).encode())


def headers(**changed: str | None) -> Asking:
    plain = asking()
    names = {name.replace("_", "-"): value for name, value in changed.items()}
    return replace(plain, headers={n: v for n, v in (dict(plain.headers) | names).items() if v is not None})


def body(change: Callable[[Any], object]) -> Asking:
    """With something else in the body: what `change` returns, or does."""
    plain = asking()
    said = plain.said()
    changed = change(said)
    return replace(plain, body=json.dumps(said if changed is None else changed).encode())


def meta(**changed: object) -> Asking:
    return asking(meta={META + name: value for name, value in changed.items()})


DIRECTLY = {
    "plain": asking(),
    "nulls in a result": asking("nulls"),
    "a result that is none": asking("malformed"),
    "an error of the protocol": asking("refuse"),
    "wrong arguments": asking("pay", {"amount": "much"}),
    "text beyond ASCII": asking(arguments={"note": "żółć 🚀"}),
    "a text as id": asking(request_id="seven"),
    "a progress token": asking(meta={"progressToken": "p"}),
    "a log level": meta(logLevel="debug"),
    "no name of a client": body(lambda said: said["params"]["_meta"].pop(f"{META}clientInfo") and None),
    "capabilities": meta(clientCapabilities={"elicitation": {"form": {}}, "sampling": {}}),
    "anything accepted": headers(accept="*/*"),
    "a page of ours": headers(origin="http://127.0.0.1:1"),
}
BY_THE_SDK = {
    "unknown tool": asking("nothing"),
    "no arguments": body(lambda said: said["params"].pop("arguments") and None),
    "null arguments": body(lambda said: said["params"].update(arguments=None)),
    "arguments in a list": asking(arguments=[1]),
    "no parameters": body(lambda said: said.pop("params") and None),
    "more parameters": body(lambda said: said["params"].update(inputResponses={})),
    "more in the message": body(lambda said: said.update(extra=1)),
    "a batch": body(lambda said: [said]),
    "a notification": body(lambda said: said.pop("id") and None),
    "no name": body(lambda said: said["params"].update(name=5)),
    "id true": asking(request_id=True),
    "id null": body(lambda said: said.update(id=None)),
    "another JSON-RPC": body(lambda said: said.update(jsonrpc="1.0")),
    "no envelope": body(lambda said: said["params"].pop("_meta") and None),
    "no capabilities": body(lambda said: said["params"].update(_meta={})),
    "capabilities that are none": meta(clientCapabilities=3),
    "a client that is none": meta(clientInfo=3),
    "another revision in the body": meta(protocolVersion="2025-11-25"),
    "a revision that is none": replace(
        meta(protocolVersion="2031-01-01"), headers=headers(mcp_protocol_version="2031-01-01").headers
    ),
    "a log level that is none": meta(logLevel="loud"),
    "a progress token that is none": asking(meta={"progressToken": True}),
    "tasks": meta(clientCapabilities={"extensions": {"io.modelcontextprotocol/tasks": {}}}),
    "no method header": headers(mcp_method=None),
    "another method header": headers(mcp_method="tools/list"),
    "no name header": headers(mcp_name=None),
    "another name header": headers(mcp_name="nulls"),
    "an encoded name": headers(mcp_name="=?base64?d2hvbGU=?="),
    "a badly encoded name": headers(mcp_name="=?base64?d2hvbGU?="),
    "an argument's header": headers(mcp_param_note="x"),
    "only JSON accepted": headers(accept="application/json"),
    "nothing accepted": headers(accept="text/html"),
    "not JSON by its type": headers(content_type="text/plain"),
    "a foreign page": headers(origin="https://elsewhere.example"),
    "a foreign name": headers(host="elsewhere.example"),
    "a key twice": replace(asking(), body=asking().body.replace(b'"arguments": {}', b'"arguments": {"a": 1, "a": 2}')),
    "NaN": replace(asking(), body=asking().body.replace(b'"arguments": {}', b'"arguments": {"a": NaN}')),
    "too deep": asking(arguments={"a": json.loads("[" * 70 + "]" * 70)}),
    "half a character": asking(arguments={"note": "\ud800"}),
    "no JSON": replace(asking(), body=b"{"),
    "too large": replace(asking(), body=b" " * (4 * 1024 * 1024 + 1)),
    "nothing": replace(asking(), body=b""),
}


@pytest.fixture
async def behind(tmp_path: Path, payments: Payments) -> AsyncIterator[tuple[Plane, Fake, str]]:
    """A plane before both servers, and an agent's token."""
    async with fake() as (server, url):
        servers = {"fake": url, "payments": payments.url}
        known = {name: UpstreamServer.model_validate({"url": its}) for name, its in servers.items()}
        async with plane(tmp_path, **known) as house:
            _, token = await house.enrolled(*GRANTS)
            async with house.client(token, VERSION) as client:
                await client.list_tools()
            yield house, server, token


@asynccontextmanager
async def agent(house: Plane, token: str) -> AsyncIterator[httpx2.AsyncClient]:
    url = house.urls[Listener.PEOPLE]
    async with httpx2.AsyncClient(
        verify=False, base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=30
    ) as http:
        yield http


def directly(house: Plane) -> int:
    return house.endpoint.answered_directly


async def read(http: httpx2.AsyncClient, asked: Asking, *more: tuple[str, str]) -> tuple[int, str, object]:
    """(status, type, body without what is different each time). A stream with one message is what an answer becomes on
    a busy machine."""
    answer = await http.post("", content=asked.body, headers=[*asked.headers.items(), *more])
    kind, text = answer.headers.get("content-type", ""), answer.text
    messages = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: {")]
    if kind.startswith("text/event-stream") and len(messages) == 1:
        kind, text = "application/json", messages[0]
    if not kind.startswith("application/json"):
        return answer.status_code, kind, text
    said = json.loads(text)
    meta = said.get("result", {}).get("_meta", {})
    return (
        answer.status_code,
        kind,
        said | {"_meta seen": sorted(meta), "volatile": [meta.pop(n, None) and n for n in VOLATILE]},
    )


async def test_a_plain_call_reads_as_the_sdk_would_have_it(behind: tuple[Plane, Fake, str]) -> None:
    house, _, token = behind
    async with agent(house, token) as http:
        reference = {name: await read(http, asked, *TWICE) for name, asked in DIRECTLY.items()}
        assert directly(house) == 0
        assert {name: await read(http, asked) for name, asked in DIRECTLY.items()} == reference
    assert directly(house) == len(DIRECTLY)
    assert {status for status, _, _ in reference.values()} == {200}


async def test_what_is_not_plain_is_left_to_the_sdk(behind: tuple[Plane, Fake, str]) -> None:
    house, _, token = behind
    async with agent(house, token) as http:
        reference = {name: await read(http, asked, *TWICE) for name, asked in BY_THE_SDK.items()}
        assert {name: await read(http, asked) for name, asked in BY_THE_SDK.items()} == reference
    assert directly(house) == 0


async def test_both_ways_leave_the_same_record(behind: tuple[Plane, Fake, str]) -> None:
    house, server, token = behind
    async with agent(house, token) as http:
        await read(http, asking(), *TWICE)
        await read(http, asking())
    first, second = [row._asdict() for row in await house.calls()]
    assert server.calls == ["whole", "whole"]
    told = ("server", "tool", "args", "digest", "rule", "status", "result", "is_error", "error")
    assert {key: first[key] for key in told} == {key: second[key] for key in told}
    events = await house.db.read(tables.events.select().order_by(tables.events.c.seq))
    kinds = [row.type for row in events if "call" in json.loads(row.body)["data"]]
    assert kinds == ["tool.asked", "tool.sent", "tool.settled"] * 2


async def test_an_unknown_token_is_refused_before_anything(behind: tuple[Plane, Fake, str]) -> None:
    house, server, _ = behind
    async with agent(house, "ple_unknown") as http:
        assert (await read(http, asking()))[0] == 401
    assert server.calls == []


async def test_a_client_that_left_gets_the_same_answer_when_it_asks_again(behind: tuple[Plane, Fake, str]) -> None:
    house, server, token = behind
    asked = asking("wait")
    url = urlsplit(house.urls[Listener.PEOPLE])
    lines = {**asked.headers, "host": url.netloc, "authorization": f"Bearer {token}", "content-length": len(asked.body)}
    head = f"POST {url.path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    stream = await anyio.connect_tcp("127.0.0.1", url.port or 0)
    await stream.send(head.encode() + b"\r\n" + asked.body)
    await server.started.wait()
    stream.extra_attributes[anyio.abc.SocketAttribute.raw_socket]().shutdown(socket.SHUT_RDWR)
    await stream.aclose()
    server.open.set()
    [row] = await house.rows(
        tables.tool_calls, toolcalls.topic("any"), 1, tables.tool_calls.c.status == toolcalls.Status.SUCCEEDED
    )
    assert row.delivered_at is None
    async with agent(house, token) as http:
        status, _, _ = await read(http, asked)
    assert status == 200
    assert server.calls == ["wait"]
