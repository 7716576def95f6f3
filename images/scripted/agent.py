"""The scripted agent: an ordinary MCP client and an ordinary chat model, in a loop until the model has no more to do.

It gets everything from its environment as every agent does, knows nothing of scripts (the model behind the gateway
plays one), and takes a control plane that restarts for what it is: it dials again and asks the same thing again.
"""

import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import httpx
import httpx2
import openai
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CONNECTION_CLOSED, CallToolResult, TextContent, Tool

PATIENCE_S = 120.0  # how long a control plane may be away before the agent gives up
PAUSE_S = 0.5
HELD_S = 5.0  # a connection that held so long was a good one: patience begins anew when it breaks
DIAL_S = 30.0
AGAIN = "Call the tool again with the same arguments"  # a server that is asked to stop tells those who wait
ENDED = "This run has ended"

T = TypeVar("T")


class Interrupted(Exception):
    """The connection is gone or the server is going: what was asked is to be asked again."""


class Refused(Exception):
    """Nothing more is done for this agent."""


def say(text: str) -> None:
    print(text, flush=True)


async def persist(ask: Callable[[], Awaitable[T]]) -> T:
    """The same question until it is answered, as long as nothing but the connection is in the way."""
    lost_at: float | None = None
    while True:
        began = anyio.current_time()
        try:
            return await ask()
        except Exception as error:
            reasons = [cause for cause in causes(error) if not is_break(cause)]
            now = anyio.current_time()
            if lost_at is None or now - began > HELD_S:
                lost_at = now
            if reasons or now - lost_at > PATIENCE_S:
                raise (reasons or causes(error))[0] from error
            if lost_at == now:
                say("The connection broke off. Dialling again.")
        await anyio.sleep(PAUSE_S)


def causes(error: Exception) -> list[Exception]:
    """What really happened: transports run in task groups, which wrap what their tasks raise."""
    if isinstance(error, ExceptionGroup):
        return [cause for inner in error.exceptions for cause in causes(inner)]
    return [error]


def is_break(error: Exception) -> bool:
    if isinstance(error, MCPError):
        return error.code == CONNECTION_CLOSED
    return isinstance(error, Interrupted | httpx2.TransportError | httpx.TransportError | openai.APIConnectionError)


async def check(response: httpx2.Response) -> None:
    if response.status_code in (401, 403):
        raise Refused("The control plane takes this run's token no more.")
    if response.status_code >= 500:
        raise Interrupted(f"HTTP {response.status_code}")


@asynccontextmanager
async def dial() -> AsyncIterator[Client]:
    """A connection for one question, so that parallel calls never share a fate. A call may wait for hours. What breaks
    once it is answered is nobody's matter: asked again, it would be done again."""
    http = httpx2.AsyncClient(
        headers={"Authorization": f"Bearer {os.environ['PRELOOP_API_TOKEN']}"},
        timeout=httpx2.Timeout(DIAL_S, read=None),
        event_hooks={"response": [check]},
    )
    transport = streamable_http_client(os.environ["PRELOOP_MCP_URL"], http_client=http)
    answered = False
    try:
        async with http, Client(transport) as client:
            yield client
            answered = True
    except Exception as error:
        if not answered or not all(is_break(cause) for cause in causes(error)):
            raise


async def listed(client: Client) -> list[Tool]:
    page = await client.list_tools()
    tools = page.tools
    while page.next_cursor is not None:
        page = await client.list_tools(cursor=page.next_cursor)
        tools += page.tools
    return tools


async def list_tools() -> list[dict[str, Any]]:
    """As a chat model is offered them."""
    async with dial() as client:
        tools = await listed(client)
    described = [
        {"name": tool.name, "description": tool.description, "parameters": tool.input_schema} for tool in tools
    ]
    return [{"type": "function", "function": tool} for tool in described]


async def call(name: str, arguments: dict[str, Any]) -> str:
    """The tool's answer as the model is to read it."""

    told = ""

    async def report(progress: float, total: float | None, message: str | None) -> None:
        nonlocal told
        if (news := message or f"Waiting for {name}.") != told:
            told = news
            say(news)

    async def ask() -> CallToolResult:
        nonlocal told
        told = ""
        async with dial() as client:
            await listed(client)  # first: the SDK wants a tool's schema, and asks for it after the answer if it must
            result = await client.call_tool(name, arguments, progress_callback=report)
        if result.is_error and AGAIN in text_of(result):
            raise Interrupted(text_of(result))
        return result

    try:
        result = await persist(ask)
    except MCPError as error:
        return f"Tool '{name}' failed: {error}"
    if result.is_error and ENDED in text_of(result):
        raise Refused(text_of(result))
    return text_of(result)


def text_of(result: CallToolResult) -> str:
    if result.structured_content is not None:
        return json.dumps(result.structured_content, ensure_ascii=False)
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))


async def think(model: openai.AsyncOpenAI, messages: list[Any], tools: list[Any]) -> dict[str, Any]:
    """What the model says next, as a message; its words are printed line by line as they come."""
    text, printed, finished = "", 0, False
    calls: dict[int, dict[str, Any]] = {}
    stream = await model.chat.completions.create(
        model=os.environ["PRELOOP_MODEL"], messages=messages, tools=tools or openai.omit, stream=True
    )
    async with stream:
        async for choice in (choice async for chunk in stream for choice in chunk.choices):
            text += choice.delta.content or ""
            while (end := text.find("\n", printed)) >= 0:
                say(text[printed:end])
                printed = end + 1
            for part in choice.delta.tool_calls or ():
                wanted = calls.setdefault(part.index, {"type": "function", "function": {"name": "", "arguments": ""}})
                wanted["id"] = part.id or wanted.get("id")
                if part.function:
                    wanted["function"]["name"] += part.function.name or ""
                    wanted["function"]["arguments"] += part.function.arguments or ""
            finished = finished or choice.finish_reason is not None
    if text[printed:]:
        say(text[printed:])
    if not finished:
        raise Interrupted("the model's answer broke off")
    return {"role": "assistant", "content": text} | ({"tool_calls": list(calls.values())} if calls else {})


async def use(wanted: dict[str, Any]) -> dict[str, Any]:
    """Do what the model wants done; the message that tells it what came of it."""
    name, arguments = wanted["function"]["name"], wanted["function"]["arguments"]
    say(f"Calling {name} {arguments}")
    try:
        answer = await call(name, json.loads(arguments or "{}"))
    except ValueError as error:
        answer = f"The arguments are not JSON: {error}"
    say(f"{name} answered: {answer[:500]}")
    return {"role": "tool", "tool_call_id": wanted["id"], "content": answer}


async def work(prompt: str) -> None:
    messages: list[Any] = [{"role": "user", "content": prompt}]
    tools = await persist(list_tools)
    async with openai.AsyncOpenAI(timeout=httpx.Timeout(DIAL_S, read=None)) as model:
        ask = partial(think, model, messages, tools)
        while "tool_calls" in (said := await persist(ask)):
            messages += [said, *await anyio.amap(use, said["tool_calls"])]


def main() -> int:
    try:
        anyio.run(work, Path(os.environ["PRELOOP_PROMPT_FILE"]).read_text())
    except Exception as error:
        for cause in causes(error):
            say(f"Ended: {cause}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
