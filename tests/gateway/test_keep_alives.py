"""A model that says nothing yet: headers at once, and on each wire the pause that its clients take for nothing."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from tests.fakes import raw_provider as raw
from tests.gateway.plane import PRICES, Plane, open_plane

TURN: Any = [{"role": "user", "content": "Go."}]
GEMINI = "/gemini/v1beta/models/m:streamGenerateContent?alt=sse"
WIRES = [
    pytest.param("chat", "/openai/v1/chat/completions", {"messages": TURN}, b": keep-alive\n\n", id="chat"),
    pytest.param("responses", "/openai/v1/responses", {"input": "Go."}, b": keep-alive\n\n", id="responses"),
    pytest.param(
        "messages", "/anthropic/v1/messages", {"messages": TURN, "max_tokens": 9}, b"event: ping\ndata: ", id="messages"
    ),
    pytest.param("gemini", GEMINI, {"contents": [{"role": "user", "parts": [{"text": "Go."}]}]}, b"\n", id="gemini"),
]


@pytest.fixture
async def provider() -> AsyncIterator[raw.Provider]:
    async with raw.serve([60.0]) as provider:
        yield provider


async def silence(plane: Plane, path: str, body: dict[str, Any], least: int) -> bytes:
    """What a client hears in the time that it takes to fill some pauses."""
    _, token = await plane.session("m")
    sent = body if "contents" in body else {"model": "m", "stream": True, **body}
    heard = b""
    async with (
        httpx.AsyncClient(verify=False, base_url=plane.containers, headers={"x-goog-api-key": token}) as client,
        client.stream("POST", path, json=sent) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        with anyio.fail_after(10):
            async for piece in answer.aiter_bytes():
                heard += piece
                if len(heard) >= least:
                    break
    return heard


@pytest.mark.parametrize("own", [True, False], ids=["passing", "translated"])
@pytest.mark.parametrize(("wire", "path", "body", "pause"), WIRES)
async def test_silence_is_filled_as_the_wire_allows(
    tmp_path: Path, provider: raw.Provider, wire: str, path: str, body: dict[str, Any], pause: bytes, own: bool
) -> None:
    other = "responses" if wire == "chat" else "chat"
    entry = {"model": "up", "base_url": provider.url, "dialects": [wire if own else other], **PRICES}
    settings: Any = {"patience_s": 0.05, "keepalive_s": 0.05}
    async with open_plane(tmp_path, {"m": {**entry, "on_disconnect": "abort"}}, **settings) as plane:
        heard = await silence(plane, path, body, 3 * len(pause))
    assert heard.startswith(pause)
    if wire == "gemini":
        assert heard.strip(b"\r\n") == b""
