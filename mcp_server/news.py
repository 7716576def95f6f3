"""Subscriptions: what upstreams announce reaches the sessions whose charter names them.

Each upstream is listened to for everybody: for changes of its lists, and for the resources that are wanted of it. On
2026-07-28 a client listens by a request of its own; on the older wire it subscribes in its session of the transport,
and each stream it holds open there hears of changed lists. When other tools are served than before (one was accepted,
quarantined, is gone), that is news too.
"""

import json
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

import anyio
from anyio.abc import TaskGroup
from mcp.server import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.server.session import ServerSession
from mcp.server.subscriptions import ListenHandler
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import (
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
)
from mcp_types import (
    INVALID_REQUEST,
    SubscribeRequestParams,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
    UnsubscribeRequestParams,
)

from control.identity import sessions
from control.identity.principals import Principal
from kit.bus import Bus
from kit.observe import log
from mcp_server import trust
from mcp_server.hearing import Context, exchange_of, session_of
from mcp_server.manner import Message
from mcp_server.passthrough import Passthrough
from mcp_server.updates import Updates, listen
from mcp_server.upstream.upstream import Upstream

Listener = Callable[[ServerEvent], None]
FOREVER_S = 86_400.0
LOOK_S = 60.0
"""How often we look whether a subscriber's session still is one, if nothing says that it ended."""
LISTS = {name: True for name in ("toolsListChanged", "promptsListChanged", "resourcesListChanged")}
_CHANGED: dict[str, ServerEvent] = {
    "notifications/tools/list_changed": ToolsListChanged(),
    "notifications/prompts/list_changed": PromptsListChanged(),
    "notifications/resources/list_changed": ResourcesListChanged(),
}
_TOLD = {type(event): json.dumps({"jsonrpc": "2.0", "method": method}) for method, event in _CHANGED.items()}


class Announcing(Server[Any]):
    """The SDK's server, which promises to clients of the older wire what `News.stream` keeps."""

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        promised = NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)
        return super().create_initialization_options(
            notification_options or promised, experimental_capabilities, extensions
        )


class News:
    """What comes from upstreams unasked, and who hears it."""

    def __init__(self, passthrough: Passthrough, bus: Bus) -> None:
        self._passthrough = passthrough
        self._bus = bus
        self._listeners: dict[object, tuple[frozenset[str], Listener]] = {}
        self._updates = Updates()
        self._older: dict[str, dict[str, tuple[Callable[[], None], ...]]] = {}
        self._telling: TaskGroup | None = None

    def register(self, server: Server[Any]) -> None:
        server.add_request_handler("subscriptions/listen", SubscriptionsListenRequestParams, self._listen)
        server.add_request_handler("resources/subscribe", SubscribeRequestParams, self._subscribe)
        server.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, self._unsubscribe)

    async def run(self, upstreams: list[Upstream]) -> None:
        """Listen until cancelled."""
        async with anyio.create_task_group() as self._telling:
            for upstream in upstreams:
                self._telling.start_soon(self._hear, upstream)
                self._telling.start_soon(self._served, upstream.name)

    def tell(self, server: str, event: ServerEvent) -> None:
        """Something changed at an upstream."""
        for servers, listener in list(self._listeners.values()):
            if server in servers:
                listener(event)

    # upstream -------------------------------------------------------------------------------------------------------

    async def _hear(self, upstream: Upstream) -> None:
        """What one upstream announces: changes of its lists, and of the resources that somebody wants of it."""

        async def heard(message: Message) -> None:
            if event := _event(message):
                if isinstance(event, ToolsListChanged):
                    upstream.look_again()
                self.tell(upstream.name, event)

        async with anyio.create_task_group() as listening:
            listening.start_soon(listen, upstream, LISTS, heard)
            listening.start_soon(self._updates.follow, upstream, heard)

    async def _served(self, server: str) -> None:
        with self._bus.watch(trust.topic(server)) as changes:
            while True:
                await changes.changed(FOREVER_S)
                self.tell(server, ToolsListChanged())

    # clients of 2026-07-28 ------------------------------------------------------------------------------------------

    async def _listen(self, ctx: Context, params: SubscriptionsListenRequestParams) -> SubscriptionsListenResult:
        exchange = exchange_of(ctx)
        principal = exchange.principal
        if exchange.fault is not None:  # read in two ways, it would not be known as something that lasts
            raise MCPError(code=INVALID_REQUEST, message=exchange.fault.message)
        servers = frozenset(upstream.name for upstream in self._passthrough.allowed(principal))
        wanted = await self._passthrough.whose(principal, params.notifications.resource_subscriptions or [])
        release = self._updates.hold(principal.session_id, wanted)
        try:
            return await ListenHandler(_Scoped(self, servers))(ctx, params)
        finally:
            release()

    def listen(self, servers: frozenset[str], listener: Listener) -> Callable[[], None]:
        """Hear of these servers until the returned function is called."""
        key = object()
        self._listeners[key] = (servers, listener)

        def stop() -> None:
            self._listeners.pop(key, None)

        return stop

    # clients of the older wire --------------------------------------------------------------------------------------

    async def stream(self, principal: Principal, put: Callable[[str], Awaitable[None]]) -> None:
        """Tell one client's open stream of changed lists, until cancelled. Several of a kind may become one."""
        due: dict[str, None] = {}
        wake = anyio.Event()

        def heard(event: ServerEvent) -> None:
            if message := _TOLD.get(type(event)):
                due[message] = None
                wake.set()

        servers = frozenset(upstream.name for upstream in self._passthrough.allowed(principal))
        stop = self.listen(servers, heard)
        try:
            while True:
                await wake.wait()
                wake = anyio.Event()
                messages = list(due)
                due.clear()
                for message in messages:
                    await put(message)
        finally:
            stop()

    async def _subscribe(self, ctx: Context, params: SubscribeRequestParams) -> Message:
        principal, uri = exchange_of(ctx).principal, str(params.uri)
        wanted = await self._passthrough.whose(principal, [uri])
        if (client := session_of(ctx)) and uri not in self._of(client, ctx):
            release = self._updates.hold(principal.session_id, wanted)
            stop = self.listen(wanted[uri], partial(self._updated, ctx.session, uri))
            self._of(client, ctx)[uri] = (release, stop)
        return {}

    async def _unsubscribe(self, ctx: Context, params: UnsubscribeRequestParams) -> Message:
        _end(self._older.get(session_of(ctx), {}).pop(str(params.uri), ()))
        return {}

    def _of(self, client: str, ctx: Context) -> dict[str, tuple[Callable[[], None], ...]]:
        """What a client's session of the transport follows, until it or the agent's own session is over."""
        if client not in self._older:
            self._older[client] = {}
            exchange = exchange_of(ctx)
            # the SDK shows handlers no end of a session; its connection's own stack is unwound there
            ctx.session._connection.exit_stack.callback(self._forget, client)
            if self._telling is not None:
                self._telling.start_soon(self._guard, client, exchange.principal.session_id, exchange.admitted)
        return self._older[client]

    async def _guard(self, client: str, session_id: str, admitted: Callable[[], Awaitable[object]]) -> None:
        with self._bus.watch(sessions.topic(session_id)) as watch:
            while client in self._older:
                await watch.changed(LOOK_S)
                try:
                    await admitted()
                except Exception as error:  # whoever can't be admitted hears nothing more
                    log.debug("subscriber not admitted", reason=str(error))
                    self._forget(client)

    def _forget(self, client: str) -> None:
        for ends in self._older.pop(client, {}).values():
            _end(ends)

    def _updated(self, session: ServerSession, uri: str, event: ServerEvent) -> None:
        if isinstance(event, ResourceUpdated) and event.uri == uri and self._telling is not None:
            self._telling.start_soon(_send, session, uri)


class OnlyHeard(TypeError):
    """Somebody published where one can only listen. The SDK's bus must have both sides; its handler only subscribes."""


class _Scoped:
    """The SDK's bus of events, as one listener sees it."""

    def __init__(self, news: News, servers: frozenset[str]) -> None:
        self._news = news
        self._servers = servers

    async def publish(self, event: ServerEvent) -> None:
        raise OnlyHeard("nobody announces through a listener's view: news come from upstreams")

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        return self._news.listen(self._servers, listener)


def _event(message: Message) -> ServerEvent | None:
    method = str(message.get("method"))
    if method == "notifications/resources/updated":
        return ResourceUpdated(uri=str((message.get("params") or {}).get("uri")))
    return _CHANGED.get(method)


def _end(ends: Iterable[Callable[[], None]]) -> None:
    for end in ends:
        end()


async def _send(session: ServerSession, uri: str) -> None:
    try:
        await session.send_resource_updated(uri)
    except (anyio.ClosedResourceError, anyio.BrokenResourceError):
        log.debug("subscriber gone", uri=uri)
