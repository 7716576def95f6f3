"""A small real HTTP server that speaks Anthropic's Messages, to stand upstream of the gateway.

What it does is asked for by the model's name: `echo` says the last user text, `think` thinks before it calls the first
tool that is offered, `cut` breaks off after a word, `busy` answers 429, `rude` 400. It remembers every request.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.serving import serving

Json = dict[str, Any]
START = {"input_tokens": 100, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 0, "output_tokens": 1}
USAGE = START | {"output_tokens": 30, "output_tokens_details": {"thinking_tokens": 10}}
REFUSALS = {"busy": (429, "rate_limit_error"), "rude": (400, "invalid_request_error")}


@dataclass(kw_only=True)
class Upstream:
    """The running server as a test sees it."""

    url: str = ""
    requests: list[Json] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    async def messages(self, request: Request) -> Response:
        body = await self._heard(request)
        if body["model"] in REFUSALS:
            status, kind = REFUSALS[body["model"]]
            error = {"type": "error", "error": {"type": kind, "message": f"{body['model']} on request"}}
            return JSONResponse(error, status_code=status)
        content = _content(body)
        stop = "tool_use" if content[-1]["type"] == "tool_use" else "end_turn"
        if body.get("stream"):
            return StreamingResponse(self._events(body, content, stop), media_type="text/event-stream")
        return JSONResponse(_message(body, USAGE) | {"content": content, "stop_reason": stop})

    async def count(self, request: Request) -> Response:
        await self._heard(request)
        return JSONResponse({"input_tokens": 4242})

    async def _heard(self, request: Request) -> Json:
        body: Json = await request.json()
        self.requests.append(body)
        self.headers.append(dict(request.headers))
        return body

    async def _events(self, body: Json, content: list[Json], stop: str) -> AsyncIterator[bytes]:
        yield _event({"type": "message_start", "message": _message(body, START)})
        yield _event({"type": "ping"})
        for index, block in enumerate(content):
            for event in _said(index, block):
                yield _event(event)
                if body["model"] == "cut" and event["type"] == "content_block_delta":
                    raise ConnectionError("cut on request")
        yield _event({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": USAGE})
        yield _event({"type": "message_stop"})


@asynccontextmanager
async def serve() -> AsyncIterator[Upstream]:
    """The server on a free loopback port, until the context ends."""
    upstream = Upstream()
    routes = [
        Route("/v1/messages", upstream.messages, methods=["POST"]),
        Route("/v1/messages/count_tokens", upstream.count, methods=["POST"]),
    ]
    async with serving(Starlette(routes=routes)) as upstream.url:
        yield upstream


def _content(body: Json) -> list[Json]:
    if body["model"] == "think" and body["messages"][-1]["role"] == "user" and len(body["messages"]) == 1:
        call = {"type": "tool_use", "id": "toolu_1", "name": body["tools"][0]["name"], "input": {"amount": 3}}
        return [{"type": "thinking", "thinking": "Let me see.", "signature": "SIG=="}, call]
    last = body["messages"][-1]["content"]
    text = last if isinstance(last, str) else str(last[-1].get("text") or last[-1].get("content"))
    return [{"type": "text", "text": text}]


def _said(index: int, block: Json) -> list[Json]:
    texts = {name: block[name] for name in ("text", "thinking", "signature") if name in block}
    empty = block | dict.fromkeys(texts, "") | ({"input": {}} if "input" in block else {})
    deltas = [{"type": f"{name}_delta", name: text} for name, text in texts.items()]
    if "input" in block:
        deltas.append({"type": "input_json_delta", "partial_json": json.dumps(block["input"])})
    said = [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
    begun: Json = {"type": "content_block_start", "index": index, "content_block": empty}
    return [begun, *said, {"type": "content_block_stop", "index": index}]


def _message(body: Json, usage: Json) -> Json:
    head = {"id": "msg_up", "type": "message", "role": "assistant", "model": body["model"], "content": []}
    return head | {"stop_reason": None, "stop_sequence": None, "usage": usage}


def _event(payload: Json) -> bytes:
    return f"event: {payload['type']}\ndata: {json.dumps(payload)}\n\n".encode()
