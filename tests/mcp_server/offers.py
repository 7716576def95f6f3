"""A tool server of 2026-07-28 with everything besides plain tools: prompts, resources, news, progress, questions."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from mcp.server import Server, ServerRequestContext
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp_types import (
    CallToolRequestParams,
    GetPromptRequestParams,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    SubscriptionsListenRequestParams,
)

from tests.mcp_server.plane import serve

Context = ServerRequestContext[Any, Any]
Answer = dict[str, Any]
ENVELOPE = {"resultType": "complete", "ttlMs": 1000, "cacheScope": "public"}
TOOLS = ("steps", "capabilities", "question", "slow")


class Offers:
    """`open` is what `slow` waits for; `asked` are the methods that reached it; `news` may be published."""

    def __init__(self, name: str, *prompts: str) -> None:
        self.name = name
        self.prompts = ("greet", f"only-{name}", *prompts)
        self.asked: list[str] = []
        self.open = anyio.Event()
        self.started = anyio.Event()
        self.listened = anyio.Event()
        self.news = InMemorySubscriptionBus()
        self._listen = ListenHandler(self.news)

    def server(self) -> Server[Any]:
        server: Server[Any] = Server(self.name)
        server.add_request_handler("tools/list", PaginatedRequestParams, self._tools)
        server.add_request_handler("tools/call", CallToolRequestParams, self._call)
        server.add_request_handler("prompts/list", PaginatedRequestParams, self._prompts)
        server.add_request_handler("prompts/get", GetPromptRequestParams, self._prompt)
        server.add_request_handler("resources/list", PaginatedRequestParams, self._resources)
        server.add_request_handler("resources/read", ReadResourceRequestParams, self._read)
        server.add_request_handler("subscriptions/listen", SubscriptionsListenRequestParams, self._listens)
        return server

    async def _tools(self, ctx: Context, params: PaginatedRequestParams) -> Answer:
        return ENVELOPE | {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]}

    async def _call(self, ctx: Context, called: CallToolRequestParams) -> Answer:
        match called.name:
            case "steps":
                for step in (10, 20):
                    await ctx.session.report_progress(step, 20, f"step {step}")
            case "slow":
                self.started.set()
                await self.open.wait()
            case "question" if not (ctx.params or {}).get("inputResponses"):
                schema = {"type": "object", "properties": {"name": {"type": "string"}}}
                params = {"mode": "form", "message": "Name?", "requestedSchema": schema}
                asked = {"method": "elicitation/create", "params": params}
                return {"resultType": "input_required", "inputRequests": {"name": asked}, "requestState": "one"}
            case "question":
                given = ctx.params or {}
                return _text(f"{given['inputResponses']['name']['content']['name']} {given['requestState']}")
        declared = ctx.session.client_capabilities
        return _text(",".join(declared.model_dump(exclude_none=True)) if declared else "")

    async def _prompts(self, ctx: Context, params: PaginatedRequestParams) -> Answer:
        return ENVELOPE | {"prompts": [{"name": name} for name in self.prompts]}

    async def _prompt(self, ctx: Context, params: GetPromptRequestParams) -> Answer:
        said = {"role": "user", "content": {"type": "text", "text": f"{params.name} of {self.name}"}}
        return {"resultType": "complete", "messages": [said]}

    async def _resources(self, ctx: Context, params: PaginatedRequestParams) -> Answer:
        return ENVELOPE | {"resources": [{"uri": f"test://{self.name}", "name": self.name}]}

    async def _read(self, ctx: Context, params: ReadResourceRequestParams) -> Answer:
        self.asked.append(str(params.uri))
        return ENVELOPE | {"contents": [{"uri": str(params.uri), "text": f"the text of {self.name}"}]}

    async def _listens(self, ctx: Context, params: SubscriptionsListenRequestParams) -> Any:
        if params.notifications.resource_subscriptions:
            self.listened.set()
        return await self._listen(ctx, params)


def _text(said: str) -> Answer:
    return {"resultType": "complete", "content": [{"type": "text", "text": said}]}


@asynccontextmanager
async def offers(name: str, *prompts: str) -> AsyncIterator[tuple[Offers, str]]:
    """A running one, and its URL; with these prompts beside its usual ones."""
    made = Offers(name, *prompts)
    manager = StreamableHTTPSessionManager(made.server())
    async with manager.run(), anyio.create_task_group() as listening:
        url: str = await listening.start(serve, StreamableHTTPASGIApp(manager))
        yield made, url
        listening.cancel_scope.cancel()
