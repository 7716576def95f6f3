"""A small real HTTP server that speaks OpenAI's Chat Completions and Responses, to stand upstream of the gateway.

What it does is asked for by the model's name: `echo` says the last user text word by word, `tools` calls the first tool
that is offered, `reason` thinks first, `cut` breaks off after a word, `silent` waits for `go` after a word, `busy`
answers 429, `broken` 500, `rude` 400. It remembers every request, and how many it answered to the end.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.serving import serving

Json = dict[str, Any]
USAGE = {
    "prompt_tokens": 120,
    "completion_tokens": 30,
    "total_tokens": 150,
    "prompt_tokens_details": {"cached_tokens": 20},
    "completion_tokens_details": {"reasoning_tokens": 10},
}
REFUSALS = {"busy": 429, "broken": 500, "rude": 400}


@dataclass(kw_only=True)
class Upstream:
    """The running server as a test sees it."""

    url: str = ""
    requests: list[Json] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    answered: int = 0  # to the end, usage and all
    spoke: anyio.Event = field(default_factory=anyio.Event)  # a `silent` answer has said its word
    go: anyio.Event = field(default_factory=anyio.Event)  # what a `silent` answer waits for

    async def chat(self, request: Request) -> Response:
        body = await self._heard(request)
        if refusal := _refused(body):
            return refusal
        if body.get("stream"):
            return StreamingResponse(self._chunks(body), media_type="text/event-stream")
        self.answered += 1
        message: Json = {"role": "assistant", "content": "".join(_words(body))}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return JSONResponse(_head(body) | {"object": "chat.completion", "choices": [choice], "usage": USAGE})

    async def responses(self, request: Request) -> Response:
        body = await self._heard(request)
        if refusal := _refused(body):
            return refusal
        if body.get("stream"):
            return StreamingResponse(self._events(body), media_type="text/event-stream")
        self.answered += 1
        return JSONResponse(_response(body, "".join(_words(body))))

    async def _heard(self, request: Request) -> Json:
        body: Json = await request.json()
        self.requests.append(body)
        self.headers.append(dict(request.headers))
        return body

    async def _chunks(self, body: Json) -> AsyncIterator[bytes]:
        async for delta in self._deltas(body):
            yield _chunk(body, delta)
        yield _chunk(body, {}, "tool_calls" if body["model"] == "tools" else "stop")
        if (body.get("stream_options") or {}).get("include_usage"):
            yield _sse(_head(body) | {"object": "chat.completion.chunk", "choices": [], "usage": USAGE})
        yield b"data: [DONE]\n\n"
        self.answered += 1

    async def _deltas(self, body: Json) -> AsyncIterator[Json]:
        model = body["model"]
        yield {"role": "assistant", "content": ""}
        if model == "tools":
            for delta in _call(body["tools"][0]["function"]["name"]):
                yield delta
            return
        if model == "reason":
            yield {"reasoning_content": "Let me think."}
        for word in _words(body):
            yield {"content": word}
            if model == "cut":
                raise ConnectionError("cut on request")
            if model == "silent":
                self.spoke.set()
                await self.go.wait()

    async def _events(self, body: Json) -> AsyncIterator[bytes]:
        yield _event({"type": "response.created", "response": _response(body, "", "in_progress")})
        for word in _words(body):
            yield _event({"type": "response.output_text.delta", "delta": word, "output_index": 0, "content_index": 0})
        yield _event({"type": "response.completed", "response": _response(body, "".join(_words(body)))})
        self.answered += 1


@asynccontextmanager
async def serve(tls: Path | None = None) -> AsyncIterator[Upstream]:
    """The server on a free loopback port, until the context ends; with `tls` as the `serving` of tests has it."""
    upstream = Upstream()
    routes = [
        Route("/v1/chat/completions", upstream.chat, methods=["POST"]),
        Route("/v1/responses", upstream.responses, methods=["POST"]),
    ]
    async with serving(Starlette(routes=routes), tls=tls) as origin:
        upstream.url = f"{origin}/v1"
        yield upstream
        upstream.go.set()


def _refused(body: Json) -> Response | None:
    status = REFUSALS.get(body["model"])
    if status is None:
        return None
    error = {"message": f"{body['model']} on request", "type": "invalid_request_error", "code": body["model"]}
    headers = {"retry-after": "7"} if status == 429 else {}
    return JSONResponse({"error": error}, status_code=status, headers=headers)


def _words(body: Json) -> list[str]:
    """The last thing the user said, or the last tool's result, in pieces."""
    if isinstance(body.get("input"), str):
        text = body["input"]
    else:
        said = [m for m in body.get("messages") or body["input"] if m.get("role") in ("user", "tool")]
        text = str(said[-1]["content"])
    return [word + " " for word in text.split()]


def _call(name: str) -> list[Json]:
    begun = {"index": 0, "id": "call_up", "type": "function", "function": {"name": name, "arguments": ""}}
    pieces = ['{"recipient":', '"alice",', '"amount":3}']
    return [
        {"tool_calls": [begun]},
        *({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in pieces),
    ]


def _head(body: Json) -> Json:
    return {"id": "chatcmpl-up", "created": 1, "model": body["model"]}


def _chunk(body: Json, delta: Json, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return _sse(_head(body) | {"object": "chat.completion.chunk", "choices": [choice]})


def _response(body: Json, text: str, status: str = "completed") -> Json:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    item = {"id": "msg_up", "type": "message", "role": "assistant", "status": status, "content": content}
    usage = {
        "input_tokens": 120,
        "input_tokens_details": {"cached_tokens": 20},
        "output_tokens": 30,
        "output_tokens_details": {"reasoning_tokens": 10},
        "total_tokens": 150,
    }
    return {
        "id": "resp_up",
        "object": "response",
        "created_at": 1,
        "status": status,
        "model": body["model"],
        "output": [item] if text else [],
        "usage": usage if text else None,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }


def _event(payload: Json) -> bytes:
    return f"event: {payload['type']}\n".encode() + _sse(payload)


def _sse(payload: object) -> bytes:
    return f"data: {json.dumps(payload)}\n\n".encode()
