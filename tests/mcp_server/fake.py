"""A tool server that misbehaves on request: the tool's name says how. A real small server, on a real socket."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from starlette.types import Receive, Scope, Send

from tests.mcp_server.plane import serve

TOOLS = (
    "whole",
    "nulls",
    "hang",
    "cut",
    "huge",
    "redirect",
    "forget",
    "malformed",
    "refuse",
    "wait",
    "echo",
    "escaped",
)
SCHEMA = {"type": "object", "properties": {"note": {"default": None}}, "additionalProperties": True}


class Fake:
    """Speaks just enough of 2025-06-18. `calls` are the calls that reached it, `listed` counts readings of its list."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.tools = [{"name": name, "inputSchema": SCHEMA} for name in TOOLS]
        self.sessions = 0
        self.listed = 0
        self.started = anyio.Event()
        self.open = anyio.Event()  # what `wait` waits for

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await _answer(send, 405, b"")
            return
        message = json.loads((await receive())["body"])
        match message["method"]:
            case "initialize":
                self.sessions += 1
                info = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}}
                await self._result(send, message, info | {"serverInfo": {"name": "fake", "version": "1"}})
            case "notifications/initialized" | "notifications/cancelled":
                await _answer(send, 202, b"")
            case "tools/list":
                self.listed += 1
                await self._result(send, message, {"tools": self.tools})
            case "tools/call":
                await self._call(receive, send, message, scope["headers"])
            case method:
                await _refuse(send, message, -32601, f"no {method}")

    async def _call(
        self, receive: Receive, send: Send, message: dict[str, Any], headers: list[tuple[bytes, bytes]]
    ) -> None:
        name = message["params"]["name"]
        self.calls.append(name)
        self.started.set()
        content = [{"type": "text", "text": name}]
        match name:
            case "whole":
                await self._result(send, message, {"content": content})
            case "echo":
                told = json.dumps({name.decode(): value.decode() for name, value in headers})
                await self._result(send, message, {"content": [{"type": "text", "text": told}]})
            case "escaped":
                told = dict(headers).get(b"authorization", b"").decode() + '"' * 110_000
                await self._result(send, message, {"content": [{"type": "text", "text": told}]})
            case "nulls":
                await self._result(send, message, {"content": content, "structuredContent": {"a": None, "b": [None]}})
            case "wait":
                await self.open.wait()
                await self._result(send, message, {"content": content})
            case "hang":
                while (await receive())["type"] != "http.disconnect":
                    pass
            case "huge":
                await self._result(send, message, {"content": [{"type": "text", "text": "x" * (5 * 1024 * 1024)}]})
            case "malformed":
                await self._result(send, message, {"content": 3})
            case _:
                await self._fail(send, message, name)

    async def _fail(self, send: Send, message: dict[str, Any], name: str) -> None:
        match name:
            case "cut":
                await _start(send, 200, b"application/json")
                await send({"type": "http.response.body", "body": b'{"jsonrpc"', "more_body": True})
                raise ConnectionResetError("cut off in the middle of an answer")
            case "redirect":
                await _start(send, 307, b"text/plain", (b"location", b"/elsewhere"))
                await send({"type": "http.response.body", "body": b""})
            case "forget":
                body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": {"content": []}})
                await _answer(send, 404 if self.calls.count("forget") == 1 else 200, body.encode())
            case "refuse":
                await _refuse(send, message, -32603, "the vault is closed")

    async def _result(self, send: Send, message: dict[str, Any], result: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()
        await _start(send, 200, b"application/json", (b"mcp-session-id", f"session-{self.sessions}".encode()))
        await send({"type": "http.response.body", "body": body})


async def _refuse(send: Send, message: dict[str, Any], code: int, text: str) -> None:
    error = {"code": code, "message": text}
    await _answer(send, 200, json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}).encode())


async def _start(send: Send, status: int, kind: bytes, *headers: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind), *headers]})


async def _answer(send: Send, status: int, body: bytes) -> None:
    await _start(send, status, b"application/json")
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def fake() -> AsyncIterator[tuple[Fake, str]]:
    """A running one, and its URL."""
    server = Fake()
    async with anyio.create_task_group() as listening:
        url: str = await listening.start(serve, server)
        yield server, url
        listening.cancel_scope.cancel()
