"""A model server that speaks Gemini's own wire, just enough for its CLI: one tool call, then a closing sentence."""

import json
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


def app(tool: str, arguments: dict[str, Any]) -> Starlette:
    """Asks for `tool` until the conversation holds a tool's answer."""

    async def generate(request: Request) -> Response:
        body = await request.json()
        parts = [part for content in body.get("contents", []) for part in content.get("parts", [])]
        said: dict[str, Any] = {"functionCall": {"name": tool, "args": arguments}}
        if any("functionResponse" in part for part in parts):
            said = {"text": "The payment is done."}
        candidate = {"content": {"role": "model", "parts": [said]}, "finishReason": "STOP", "index": 0}
        usage = {"promptTokenCount": 100, "candidatesTokenCount": 10, "totalTokenCount": 110}
        answer = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "default"}
        if ":countTokens" in request.url.path:
            return JSONResponse({"totalTokens": 100})
        if ":streamGenerateContent" not in request.url.path:
            return JSONResponse(answer)
        return Response(f"data: {json.dumps(answer)}\n\n", media_type="text/event-stream")

    return Starlette(routes=[Route("/v1beta/models/{model:path}", generate, methods=["POST"])])
