"""The tools that the suite's scenarios of the tasks extension call, as an upstream that knows nothing of tasks: each is
slow or asks for input, and what stands in front makes tasks of them. Prints its address."""

import socket
import sys
from typing import Any

import anyio
import uvicorn
from mcp.server import Server, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolRequestParams, PaginatedRequestParams

SLOW_S = 1.0
Answer = dict[str, Any]
ANY = {"type": "object", "additionalProperties": True}
TOOLS = (
    "greet",
    "slow_compute",
    "failing_job",
    "protocol_error_job",
    "confirm_delete",
    "multi_input",
    "test_tool_with_task",
)
ONLY_TASKS = {"failing_job", "test_tool_with_task"}


async def listed(ctx: ServerRequestContext[Any, Any], params: PaginatedRequestParams) -> Answer:
    tools = [{"name": name, "description": f"The fixture {name}.", "inputSchema": ANY} for name in TOOLS]
    for tool in tools:
        if tool["name"] in ONLY_TASKS:
            tool["_meta"] = {"preloop/taskSupport": "required"}
    return {"resultType": "complete", "tools": tools, "ttlMs": 1000, "cacheScope": "public"}


async def called(ctx: ServerRequestContext[Any, Any], params: CallToolRequestParams) -> Answer:
    arguments = params.arguments or {}
    given = dict((ctx.params or {}).get("inputResponses") or {})
    match params.name:
        case "greet":
            return text(f"Hello, {arguments.get('name')}!")
        case "slow_compute":
            await anyio.sleep(float(arguments.get("seconds", 0)))
            return text("computed")
        case "failing_job":
            await anyio.sleep(SLOW_S)
            return text("the job failed") | {"isError": True}
        case "protocol_error_job":
            await anyio.sleep(SLOW_S)
            raise MCPError(code=-32603, message="the job broke down")
        case "confirm_delete":
            return await asking(given, "confirm")
        case "multi_input":
            return await asking(given, "first", "second")
    if "user_name" not in given:
        return wanted("user_name")
    await anyio.sleep(SLOW_S)
    return text(f"Hello, {given['user_name']['content']['name']}")


async def asking(given: Answer, *names: str) -> Answer:
    """Slow at first, so that it is a task by the time it asks."""
    if all(name in given for name in names):
        return text("thank you")
    await anyio.sleep(SLOW_S)
    return wanted(*names)


def wanted(*names: str) -> Answer:
    schema = {"type": "object", "properties": {"name": {"type": "string"}, "confirm": {"type": "boolean"}}}
    asked = {"method": "elicitation/create", "params": {"mode": "form", "message": "Well?", "requestedSchema": schema}}
    return {"resultType": "input_required", "inputRequests": {name: asked for name in names}}


def text(said: str) -> Answer:
    return {"resultType": "complete", "content": [{"type": "text", "text": said}]}


def main(port: int) -> None:
    server: Server[Any] = Server("tasks fixtures")
    server.add_request_handler("tools/list", PaginatedRequestParams, listed)
    server.add_request_handler("tools/call", CallToolRequestParams, called)
    listener = socket.socket()
    listener.bind(("127.0.0.1", port))
    listener.listen()
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
    app = server.streamable_http_app(stateless_http=True)
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])


if __name__ == "__main__":
    main(int(sys.argv[1]))
