"""The upstream of the measurements: one tool that says what it was told, both eras, JSON answers. Prints its URL."""

import socket
from typing import Any

import uvicorn
from mcp.server import Server, ServerRequestContext
from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, PaginatedRequestParams, TextContent, Tool

ECHO = Tool(
    name="echo",
    description="Says what it was told.",
    input_schema={"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
)


async def listed(ctx: ServerRequestContext[Any, Any], params: PaginatedRequestParams | None) -> ListToolsResult:
    return ListToolsResult(tools=[ECHO])


async def called(ctx: ServerRequestContext[Any, Any], params: CallToolRequestParams) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=(params.arguments or {}).get("text", ""))])


def main() -> None:
    server: Server[Any] = Server("echo", on_list_tools=listed, on_call_tool=called)
    app = server.streamable_http_app(json_response=True, stateless_http=True)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])


if __name__ == "__main__":
    main()
