"""A model server that speaks Anthropic's wire, just enough for Claude Code: one tool call, then a closing sentence."""

import json
from collections.abc import Iterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


def app(tool: str, arguments: dict[str, Any]) -> Starlette:
    """Asks for `tool` until the conversation holds a tool's answer; where it is not offered, says so."""

    async def messages(request: Request) -> Response:
        body = await request.json()
        blocks = [block for message in body["messages"] for block in _blocks(message)]
        offered = any(one.get("name") == tool for one in body.get("tools", []))
        if any(block.get("type") == "tool_result" for block in blocks) or not offered:
            return _stream("end_turn", {"type": "text", "text": ""}, {"type": "text_delta", "text": "It is done."})
        use = {"type": "tool_use", "id": "toolu_1", "name": tool, "input": {}}
        return _stream("tool_use", use, {"type": "input_json_delta", "partial_json": json.dumps(arguments)})

    async def count(request: Request) -> Response:
        return JSONResponse({"input_tokens": 100})

    async def here(request: Request) -> Response:
        return Response()

    return Starlette(
        routes=[
            Route("/v1/messages", messages, methods=["POST"]),
            Route("/v1/messages/count_tokens", count, methods=["POST"]),
            Route("/", here, methods=["HEAD", "GET"]),
        ]
    )


def _blocks(message: dict[str, Any]) -> list[dict[str, Any]]:
    return [block for block in message["content"] if isinstance(block, dict)]


def _stream(stop: str, block: dict[str, Any], delta: dict[str, Any]) -> Response:
    return Response("".join(_events(stop, block, delta)), media_type="text/event-stream")


def _events(stop: str, block: dict[str, Any], delta: dict[str, Any]) -> Iterator[str]:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "default", "content": []}
    usage = {"input_tokens": 100, "output_tokens": 1}
    for event in (
        {"type": "message_start", "message": message | {"stop_reason": None, "stop_sequence": None, "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": {"output_tokens": 9}},
        {"type": "message_stop"},
    ):
        yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"
