"""A stand-in for the control plane in a process of its own, so that it can be killed: an MCP server and a chat model.

The model plays `turns.json` in the folder given: turn n of a conversation in which the assistant spoke n times. What
reached us is appended to `asked.jsonl`. Usage: python plane.py HOST PORT FOLDER
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

HOST, PORT, FOLDER = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
server = MCPServer("payments")
paid = asyncio.Event()


def note(**what: Any) -> None:
    with (FOLDER / "asked.jsonl").open("a") as file:
        file.write(json.dumps(what) + "\n")


@server.tool()
async def pay(recipient: str, amount: float, context: Context[Any]) -> dict[str, Any]:
    """Pay somebody. Waits until the file `approved` is there."""
    note(tool="pay", recipient=recipient, amount=amount)
    while not (FOLDER / "approved").exists():
        await context.report_progress(0, None, "Waiting for approval by alice.")
        await asyncio.sleep(0.05)  # a tool that takes its time and says so is what this stands for
    paid.set()
    return {"transaction_id": f"tx_{recipient}"}


@server.tool()
async def fail() -> str:
    """Always refuses."""
    raise ValueError("no")


async def chat(request: Request) -> Response:
    asked = await request.json()
    spoken = sum(message["role"] == "assistant" for message in asked["messages"])
    note(
        model=asked["model"],
        turn=spoken,
        tools=[tool["function"]["name"] for tool in asked.get("tools", [])],
        results=[message["content"] for message in asked["messages"] if message["role"] == "tool"],
        bearer=request.headers["authorization"],
    )
    turn = json.loads((FOLDER / "turns.json").read_text())[spoken]
    if "status" in turn:
        return JSONResponse({"error": {"message": "The budget is used up.", "code": "budget"}}, turn["status"])
    return StreamingResponse(stream(turn), media_type="text/event-stream")


async def stream(turn: dict[str, Any]) -> AsyncIterator[str]:
    for word in turn.get("say", "").split(" "):
        yield event({"content": word + " "})
    for index, (name, arguments) in enumerate(turn.get("call", [])):
        yield event({"tool_calls": [{"index": index, "id": f"c{index}", "function": {"name": name, "arguments": ""}}]})
        for piece in json.dumps(arguments):
            yield event({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    if turn.get("hang") and not (FOLDER / "approved").exists():
        await asyncio.sleep(3600)  # a model that hangs, until this process is killed
    yield event({}, "tool_calls" if "call" in turn else "stop")
    yield "data: [DONE]\n\n"


async def responses(request: Request) -> Response:
    """The wire of Codex, which shows MCP tools as a namespace."""
    asked = await request.json()
    results = [item for item in asked["input"] if item["type"] == "function_call_output"]
    names = [tool.get("name", tool["type"]) for tool in asked["tools"]]
    note(model=asked["model"], tools=names, results=results, input=json.dumps(asked["input"]))
    if results:
        item = {
            "type": "message",
            "role": "assistant",
            "id": "m",
            "content": [{"type": "output_text", "text": "Paid."}],
        }
    else:
        call = {"name": "pay", "namespace": "mcp__preloop", "arguments": '{"recipient": "a", "amount": 1}'}
        item = {"type": "function_call", "id": "f", "call_id": "c", **call}
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {"id": "r"}},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": {"id": "r", "usage": usage, "output": [item]}},
    ]
    body = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
    return Response(body, media_type="text/event-stream")


def event(delta: dict[str, Any], finish: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    chunk = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice]}
    return f"data: {json.dumps(chunk)}\n\n"


app = server.streamable_http_app(transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False))
app.add_route("/openai/v1/chat/completions", chat, methods=["POST"])
app.add_route("/openai/v1/responses", responses, methods=["POST"])


async def mortal(scope: Scope, receive: Receive, send: Send) -> None:
    """With the file `dies` there, this process is gone as soon as its first payment is answered whole."""

    async def watched(message: Message) -> None:
        await send(message)
        whole = message["type"] == "http.response.body" and not message.get("more_body")
        if whole and paid.is_set() and (FOLDER / "dies").exists():
            (FOLDER / "dies").unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    await app(scope, receive, watched)


uvicorn.run(mortal, host=HOST, port=PORT, log_level="error")
