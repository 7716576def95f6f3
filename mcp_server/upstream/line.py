"""One connection to an upstream. The SDK opens it, agrees on a revision and hears what the upstream announces; requests
to an HTTP upstream then go past it, by `post`.

`ask` passes a raw result on and raises what came instead: `MCPError` is the upstream's own refusal, `Broken` says
whether the request can have arrived. Our client declares no capability: nobody may sample, list roots or elicit here.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import anyio
from mcp.client import Client
from mcp.client.session import ClientSession, IncomingMessage
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import (
    MCP_METHOD_HEADER,
    MCP_NAME_HEADER,
    MCP_PROTOCOL_VERSION_HEADER,
    NAME_BEARING_METHODS,
    encode_header_value,
    mcp_param_headers,
    x_mcp_header_map,
)
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    CONNECTION_CLOSED,
    PROTOCOL_VERSION_META_KEY,
    Implementation,
    Request,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import RootModel

from mcp_server.settings import UpstreamServer
from mcp_server.upstream import wire
from mcp_server.upstream.child import child
from mcp_server.upstream.pool import Pool
from mcp_server.upstream.post import Broken, Heard, Message, Post
from mcp_server.upstream.private import private

OPEN_S = 10.0
"""Each step of connecting and listing the tools."""
PAGES = 100
US = Implementation(name="preloop", version="1")

Announced = Callable[[IncomingMessage], None]
"""Hears what an upstream tells unasked: `notifications/tools/list_changed` and its like."""


class Raw(RootModel[dict[str, Any]]):
    """A result as it came."""


class _Asked(Request[dict[str, Any], str]):
    """A request of any method."""


class Line:
    """A connection that works. A broken one takes no new requests and closes when its last one has ended."""

    def __init__(self, session: ClientSession, post: Post | None) -> None:
        self.session = session
        self.calls = 0
        self.broken = anyio.Event()
        self.idle = anyio.Event()
        self.why = ""
        self._post = post
        self._mirrored: dict[str, dict[tuple[str, ...], str]] = {}

    @property
    def revision(self) -> str:
        return self.session.protocol_version or "2025-11-25"

    def fail(self, reason: str) -> None:
        """Take no new requests; whoever holds the line closes it."""
        self.why = self.why or reason
        self.broken.set()
        if not self.calls:
            self.idle.set()

    async def ask(
        self,
        method: str,
        params: Message,
        *,
        within: float = OPEN_S,
        heard: Heard | None = None,
        offered: Message | None = None,
    ) -> Message:
        """The raw result; TimeoutError after `within` seconds. `offered` are the capabilities of whoever it is for."""
        self.calls += 1
        try:
            with anyio.fail_after(within):
                if self._post is None:
                    return await self._through_session(method, params, within)
                params, headers = self._stamped(method, params, offered or {})
                return result_of(await self._post.ask(method, params, headers=headers, heard=heard))
        finally:
            self.calls -= 1
            if self.broken.is_set() and not self.calls:
                self.idle.set()

    async def tools(self) -> list[dict[str, Any]]:
        """All pages of tools/list, raw. Here we learn which arguments a call must mirror into headers."""
        tools = await listed(partial(self.ask, "tools/list"), "tools")
        self._mirrored = {
            name: found for tool in tools if isinstance(name := tool.get("name"), str) and (found := _mirrored(tool))
        }
        return tools

    async def _through_session(self, method: str, params: Message, within: float) -> Message:
        asked = _Asked(method=method, params=params)
        try:
            answer = await self.session.send_request(asked, Raw, request_read_timeout_seconds=within + 1)
        except MCPError as error:
            if error.code == CONNECTION_CLOSED:
                self.fail(error.message)
                raise Broken(self.why, sent=True) from error
            raise
        return answer.root

    def _stamped(self, method: str, params: Message, offered: Message) -> tuple[Message, dict[str, str]]:
        """The envelope a revision wants: headers built from the body, never those that came in."""
        headers = {MCP_PROTOCOL_VERSION_HEADER: self.revision}
        if self.revision not in MODERN_PROTOCOL_VERSIONS:
            return params, headers
        stamps = {
            PROTOCOL_VERSION_META_KEY: self.revision,
            CLIENT_INFO_META_KEY: {"name": US.name, "version": US.version},
            CLIENT_CAPABILITIES_META_KEY: offered,
        }
        headers[MCP_METHOD_HEADER] = method
        name = params.get(NAME_BEARING_METHODS.get(method, ""))
        if isinstance(name, str):
            headers[MCP_NAME_HEADER] = encode_header_value(name)
            if mirrored := self._mirrored.get(name) if method == "tools/call" else None:
                headers |= mcp_param_headers(mirrored, params.get("arguments") or {})
        return params | {"_meta": (params.get("_meta") or {}) | stamps}, headers


async def listed(ask: Callable[[Message], Awaitable[Message]], key: str) -> list[Message]:
    """Every object of a list upstream, all its pages; `ask` takes the parameters of one page's request."""
    found: list[Message] = []
    cursor: object = None
    for _ in range(PAGES):
        page = await ask({"cursor": cursor} if cursor else {})
        if not isinstance(page.get(key), list):
            raise Broken(f"its list has no {key}", sent=True)
        found += [raw for raw in page[key] if isinstance(raw, dict)]
        if not (cursor := page.get("nextCursor")):
            break
    return found


def _mirrored(tool: Message) -> dict[tuple[str, ...], str]:
    try:
        return x_mcp_header_map(tool.get("inputSchema"))
    except Exception:  # what is wrong with its schema is found where it is read
        return {}


def result_of(message: Message) -> Message:
    error = message.get("error")
    if isinstance(error, dict):
        raise MCPError(
            code=int(error.get("code", -32603)), message=str(error.get("message", "")), data=error.get("data")
        )
    result = message.get("result")
    if not isinstance(result, dict):
        raise Broken("its answer is no JSON-RPC message", sent=True)
    return result


class Dialler:
    """Makes the lines of one upstream. Entered once; what it pools outlives a line."""

    def __init__(self, name: str, settings: UpstreamServer) -> None:
        self._name = name
        self._settings = settings
        self._headers = {key: value.get_secret_value() for key, value in settings.headers.items()}
        self._stack = AsyncExitStack()
        self._wire = wire.Wire()
        self._pool: Pool | None = None

    async def __aenter__(self) -> "Dialler":
        if self._settings.url is not None:
            self._client = await self._stack.enter_async_context(wire.http_client(self._wire, self._headers))
            self._pool = await self._stack.enter_async_context(Pool(str(self._settings.url), self._headers))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @asynccontextmanager
    async def private(self, offered: Message) -> AsyncIterator[Post | None]:
        """A session of the older wire of its own, None where there can be none: a program has one client."""
        if self._pool is None:
            yield None
            return
        async with private(self._pool, offered, US) as post:
            yield post

    @asynccontextmanager
    async def dial(self, announced: Announced) -> AsyncIterator[Line]:
        """A line that is open inside of this context."""

        async def hear(message: IncomingMessage) -> None:
            announced(message)

        ended: list[Line] = []

        def lost(reason: str) -> None:
            for line in ended:
                line.fail(reason)

        self._wire.session_id = None
        transport: Any = self._transport(lost)
        client = Client(transport, client_info=US, cache=None, read_timeout_seconds=OPEN_S, message_handler=hear)
        async with client:
            line = Line(client.session, self._post())
            ended.append(line)
            yield line

    def _transport(self, lost: Callable[[str], None]) -> object:
        if self._settings.url is None:
            env = {key: value.get_secret_value() for key, value in self._settings.env.items()}
            return child(self._name, self._settings.command, env, lost)
        return streamable_http_client(
            str(self._settings.url), http_client=self._client, max_sse_event_size=wire.MAX_ANSWER
        )

    def _post(self) -> Post | None:
        if self._pool is None:
            return None
        session = {"mcp-session-id": self._wire.session_id} if self._wire.session_id else {}
        return Post(self._pool, session)
