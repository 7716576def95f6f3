"""A tool server that repeats our credential in escapes: whatever the way, nobody behind us reads it."""

import json
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
import sqlalchemy as sa
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import LoggingMessageNotificationParams
from starlette.types import Receive, Scope, Send

from control.identity.charter import ToolGrant
from control.identity.doorkeeper import Listener
from control.tables import events, log_chunks, tool_calls
from kit.masking import MASK
from mcp_server.settings import UpstreamServer
from mcp_server.upstream.veil import Veil
from tests.mcp_server.plane import plane, serve, text_of

KEY = 'k&y/<7>+\\"äs😀~~tail~'
EVERY = ToolGrant(server="*", tool="*")
Spell = Callable[[str], str]
"""A text → JSON of it."""


def by_number(text: str, digits: str = "04x") -> str:
    """Every character as `\\u00xx`."""
    units = text.encode("utf-16-be", "surrogatepass")
    return '"' + "".join(f"\\u{int.from_bytes(units[at : at + 2]):{digits}}" for at in range(0, len(units), 2)) + '"'


def like_go(text: str) -> str:
    said = json.dumps(text, ensure_ascii=False)
    return said.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def like_dotnet(text: str) -> str:
    return '"' + "".join(f"\\u{ord(char):04X}" if char in "+<>&'\"" else json.dumps(char)[1:-1] for char in text) + '"'


SPELLS: dict[str, Spell] = {
    "lower": by_number,
    "upper": lambda text: by_number(text, "04X"),
    "go": like_go,
    "php": lambda text: json.dumps(text).replace("/", "\\/"),
    "dotnet": like_dotnet,
    "plain": json.dumps,
}


def spelt(value: Any, spell: Spell) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{spell(key)}:{spelt(inner, spell)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(spelt(inner, spell) for inner in value) + "]"
    return spell(value) if isinstance(value, str) else json.dumps(value)


def read(text: str, depth: int) -> Any:
    """JSON, and so often the JSON in its text."""
    value: Any = json.loads(text)
    return value | {"key": read(value["key"], depth - 1)} if depth else value


@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("inner", SPELLS)
@pytest.mark.parametrize("outer", SPELLS)
def test_whatever_is_escaped_how_often_only_the_credential_is_replaced(outer: str, inner: str, depth: int) -> None:
    def nested(secret: str) -> str:
        text = f"before {secret} after \\"
        for _ in range(depth):
            text = spelt({"key": text, "other": 'C:\\new "folder"'}, SPELLS[inner])
        return spelt({"key": text, KEY[:9]: ["🙂", None, 1.50, "\n"]}, SPELLS[outer])

    covered = Veil([f"Bearer {KEY}"]).over(nested(KEY).encode()).decode()
    assert read(covered, depth) == read(nested(MASK), depth)


@pytest.mark.parametrize("encoded", [KEY.encode().hex(), KEY.encode().hex().upper()])
@pytest.mark.parametrize("spell", SPELLS)
def test_its_digits_are_replaced_too(encoded: str, spell: str) -> None:
    said = spelt({"told": f"0x{encoded}"}, SPELLS[spell])
    assert json.loads(Veil([KEY]).over(said.encode())) == {"told": f"0x{MASK}"}


@pytest.mark.parametrize(
    "said",
    [
        rb'{"text": "C:\\users\\new", "also": "\u0041\u000a\u005c\u00e9", "cut": "\ud83d"}',
        rb'{"text": "k\\u0026y\\/ is only a part of it"}',
        rb"no JSON at all: \u0041 \x \u12",
        b'{"far": "' + b"\\u005c" * 40 + b'"}',
    ],
)
def test_escapes_without_a_credential_stay_as_they_came(said: bytes) -> None:
    assert Veil([KEY, "hunter2-hunter2"]).over(said) is said


def test_every_credential_is_replaced_wherever_it_stands_and_what_lies_between_stays() -> None:
    said = by_number("one-secret two-secret") + r' , "one\u002dsecret", "tw\u006f\u002Dsecrettwo-secret"'
    covered = Veil(["one-secret", "two-secret"]).over(f"[{said}]".encode())
    assert json.loads(covered) == [f"{MASK} {MASK}", MASK, MASK * 2]


class Leaky:
    """Speaks just enough of 2025-06-18 to repeat the key it was sent in all that it says, spelt as asked."""

    def __init__(self, spell: Spell) -> None:
        self._spell = spell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        key = headers[b"x-key"].decode("latin-1")
        message = json.loads((await receive())["body"]) if scope["method"] == "POST" else {}
        if "id" not in message:
            await _say(send, 202 if message else 405, b"application/json", b"")
            return
        said = self._said(message, key)
        if message["method"] == "tools/call" and message["params"]["name"] == "streamed":
            token = message["params"].get("_meta", {}).get("progressToken")
            progress = {"progressToken": token, "progress": 1, "message": key}
            told = [
                {"jsonrpc": "2.0", "method": "notifications/progress", "params": progress},
                {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "error", "data": key}},
                said,
            ]
            body = "".join(f"data: {spelt(each, self._spell)}\n\n" for each in told)
            await _say(send, 200, b"text/event-stream", body.encode())
        else:
            wide = message.get("params", {}).get("name") == "wide"
            await _say(send, 200, b"application/json", spelt(said, self._spell).encode("utf-16" if wide else "utf-8"))

    def _said(self, message: dict[str, Any], key: str) -> dict[str, Any]:
        result: dict[str, Any]
        match message["method"]:
            case "initialize":
                able: dict[str, Any] = {"tools": {}, "prompts": {}, "resources": {}, "logging": {}}
                result = {"protocolVersion": "2025-06-18", "capabilities": able}
                result["serverInfo"] = {"name": "leaky", "version": "1"}
            case "tools/list":
                tools = [{"name": name, "inputSchema": {"type": "object"}} for name in ("whole", "streamed", "wide")]
                result = {"tools": tools}
            case "tools/call":
                text = spelt({"args": {"key": spelt({"key": key}, self._spell)}}, self._spell)
                result = {"content": [{"type": "text", "text": text}], "structuredContent": {"a": [{key: key}]}}
            case "prompts/list":
                result = {"prompts": [{"name": "greet", "description": key}]}
            case "prompts/get":
                result = {"messages": [{"role": "user", "content": {"type": "text", "text": key}}]}
            case "resources/list":
                result = {"resources": [{"uri": "test://one", "name": key}]}
            case "resources/read" if message["params"]["uri"] == "test://one":
                result = {"contents": [{"uri": "test://one", "text": key}]}
            case _:
                error = {"code": -32002, "message": f"not with {key}", "data": {"key": key}}
                return {"jsonrpc": "2.0", "id": message["id"], "error": error}
        return {"jsonrpc": "2.0", "id": message["id"], "result": result}


async def _say(send: Send, status: int, kind: bytes, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def leaky(spell: Spell) -> AsyncIterator[str]:
    async with anyio.create_task_group() as listening:
        yield await listening.start(serve, Leaky(spell))
        listening.cancel_scope.cancel()


HEADER = 'k&y/<7>+\\"~~tail~'
"""What can be sent in a header."""


@pytest.mark.parametrize("spell", ["lower", "go"])
async def test_over_http_no_answer_error_or_notice_has_it(tmp_path: Path, spell: str) -> None:
    heard: list[object] = []

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        heard.append(message)

    async def logged(params: LoggingMessageNotificationParams) -> None:
        heard.append(params.data)

    async with leaky(SPELLS[spell]) as url:
        server = UpstreamServer.model_validate({"url": url, "headers": {"X-Key": HEADER}, "pin": "first-use"})
        async with plane(tmp_path, leaky=server) as up:
            _, token = await up.enrolled(EVERY)
            http = httpx2.AsyncClient(verify=False, headers={"Authorization": f"Bearer {token}"}, timeout=30)
            wire = streamable_http_client(up.urls[Listener.PEOPLE], http_client=http)
            async with http, Client(wire, mode="legacy", logging_callback=logged) as client:
                heard.append((await client.call_tool("whole", {})).model_dump())
                heard.append((await client.call_tool("streamed", {}, progress_callback=progress)).model_dump())
                heard.append((await client.list_prompts()).model_dump())
                heard.append((await client.get_prompt("greet")).model_dump())
                heard.append((await client.list_resources()).model_dump())
                heard.append((await client.read_resource("test://one")).model_dump(mode="json"))
                with pytest.raises(MCPError) as error:
                    await client.read_resource("test://other")
                heard.append([error.value.error.message, error.value.error.data])
            kept = [row for table in (events, tool_calls, log_chunks) for row in await up.db.read(sa.select(table))]
    assert len(heard) == 9
    assert [MASK in str(each) for each in heard] == [True] * 9
    assert "tail~" not in bare(heard) + bare(kept)  # no digits: ids and times have any of them at some time


async def test_in_another_encoding_it_is_no_answer(tmp_path: Path) -> None:
    async with leaky(json.dumps) as url:
        server = UpstreamServer.model_validate({"url": url, "headers": {"X-Key": HEADER}, "pin": "first-use"})
        async with plane(tmp_path, leaky=server) as up:
            _, token = await up.enrolled(EVERY)
            async with up.client(token, "legacy") as client:
                told = text_of(await client.call_tool("wide", {}))
    assert "its answer is not JSON" in told


async def test_of_a_program_no_answer_has_it(tmp_path: Path) -> None:
    program = [sys.executable, str(Path(__file__).with_name("stdio_fake.py"))]
    server = UpstreamServer.model_validate({"command": program, "env": {"KEY": KEY}, "pin": "first-use"})
    async with plane(tmp_path, program=server) as up:
        _, token = await up.enrolled(EVERY)
        async with up.client(token, "legacy") as client:
            assert text_of(await client.call_tool("numbered", {})) == MASK


def bare(said: object) -> str:
    """With every escape that is left read."""
    text = str(said)
    for _ in range(4):
        text = re.sub(r"\\+u00([0-9a-fA-F]{2})", lambda hit: chr(int(hit[1], 16)), text)
    return text
