"""Raw tools/call over HTTP/1.1, as cheap as a client can be, on either wire: what the gateways are driven with."""

import json
from typing import Any

import aiohttp
import anyio

from bench.mcp_gateways import MODERN, Gateway

_META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
}


async def call(http: aiohttp.ClientSession, to: Gateway, text: str) -> str:
    """The text of the result; anything that is no result of the tool is an error."""
    params: dict[str, Any] = {"name": to.tool, "arguments": {"text": text}}
    headers = {"accept": "application/json, text/event-stream", "mcp-protocol-version": to.wire}
    if to.token:
        headers["authorization"] = f"Bearer {to.token}"
    if to.wire == MODERN:
        params["_meta"] = _META
        headers |= {"mcp-method": "tools/call", "mcp-name": to.tool}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    async with http.post(to.url, json=body, headers=headers) as answer:
        raw = await answer.text()
        if answer.content_type == "text/event-stream":
            raw = [line.removeprefix("data:") for line in raw.splitlines() if line.startswith("data:")][-1]
    result = json.loads(raw).get("result", {"isError": True})
    if result.get("isError"):
        raise RuntimeError(f"{to.name} answered {raw[:500]}")
    return str(result["content"][0]["text"])


def session() -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=0)
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=300), read_bufsize=2**12)


async def many(http: aiohttp.ClientSession, to: Gateway, count: int, at_once: int) -> None:
    """`count` calls with different arguments, `at_once` side by side."""
    left = iter(range(count))

    async def one_after_another() -> None:
        for number in left:
            said = f"{number} {'x' * 20}"
            if await call(http, to, said) != said:
                raise RuntimeError(f"{to.name} answered something else")

    async with anyio.create_task_group() as clients:
        for _ in range(at_once):
            clients.start_soon(one_after_another)
