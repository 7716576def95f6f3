"""Subscriptions: what upstreams announce reaches the sessions whose charter names them.

Each upstream is listened to once, for everybody: changes of its lists, and the resources somebody asked about. On
2026-07-28 a client listens by a request of its own; on the older wire it subscribes in its session of the transport,
and each stream it holds open there hears of changed lists. When other tools are served than before (one was accepted,
quarantined, is gone), that is news too.
"""

import json
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
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
    SubscribeRequestParams,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
    UnsubscribeRequestParams,
)

from control.identity.principals import Principal
from kit.bus import Bus
from kit.observe import log
from mcp_server import trust
from mcp_server.hearing import Context, exchange_of, session_of
from mcp_server.manner import Manner, Message
from mcp_server.passthrough import Passthrough
from mcp_server.upstream.post import Broken
from mcp_server.upstream.upstream import Upstream

Listener = Callable[[ServerEvent], None]
FOREVER_S = 86_400.0
PAUSE_S = 5.0
"""Before an upstream that broke off is listened to again."""
SUBSCRIBED = 10_000
"""Subscriptions of the older wire that are kept; the oldest go first."""
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
        self._wanted: Counter[str] = Counter()
        self._revised = anyio.Event()
        self._older: OrderedDict[tuple[str, str], Callable[[], None]] = OrderedDict()
        self._telling: TaskGroup | None = None

    def register(self, server: Server[Any]) -> None:
        server.add_request_handler("subscriptions/listen", SubscriptionsListenRequestParams, self._listen)
        server.add_request_handler("resources/subscribe", SubscribeRequestParams, self._subscribe)
        server.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, self._unsubscribe)

    async def run(self, upstreams: list[Upstream]) -> None:
        """Listen until cancelled."""
        async with anyio.create_task_group() as self._telling:
            for upstream in upstreams:
                self._telling.start_soon(self._follow, upstream)
                self._telling.start_soon(self._served, upstream.name)

    def tell(self, server: str, event: ServerEvent) -> None:
        """Something changed at an upstream."""
        for servers, listener in list(self._listeners.values()):
            if server in servers:
                listener(event)

    # upstream -------------------------------------------------------------------------------------------------------

    async def _follow(self, upstream: Upstream) -> None:
        while True:
            revised = self._revised
            async with anyio.create_task_group() as listening:
                listening.start_soon(self._hear, upstream)
                await revised.wait()
                listening.cancel_scope.cancel()

    async def _hear(self, upstream: Upstream) -> None:
        """Hear one upstream out, again and again; one that knows no subscriptions is left in peace."""

        async def heard(message: Message) -> None:
            if event := _event(message):
                if isinstance(event, ToolsListChanged):
                    upstream.look_again()
                self.tell(upstream.name, event)

        kinds = {name: True for name in ("toolsListChanged", "promptsListChanged", "resourcesListChanged")}
        asked = {"notifications": kinds | {"resourceSubscriptions": sorted(self._wanted)}}
        while True:
            try:
                await upstream.ready(FOREVER_S)
                await upstream.ask("subscriptions/listen", asked, within=FOREVER_S, manner=Manner(heard=heard))
            except MCPError as error:
                log.debug("no subscriptions", server=upstream.name, reason=error.message)
                return
            except (Broken, TimeoutError):
                pass
            await anyio.sleep(PAUSE_S)

    async def _served(self, server: str) -> None:
        with self._bus.watch(trust.topic(server)) as changes:
            while True:
                await changes.changed(FOREVER_S)
                self.tell(server, ToolsListChanged())

    # clients of 2026-07-28 ------------------------------------------------------------------------------------------

    async def _listen(self, ctx: Context, params: SubscriptionsListenRequestParams) -> SubscriptionsListenResult:
        servers = frozenset(upstream.name for upstream in self._passthrough.allowed(exchange_of(ctx).principal))
        with self._want(params.notifications.resource_subscriptions or []):
            return await ListenHandler(_Scoped(self, servers))(ctx, params)

    def listen(self, servers: frozenset[str], listener: Listener) -> Callable[[], None]:
        """Hear of these servers until the returned function is called."""
        key = object()
        self._listeners[key] = (servers, listener)

        def stop() -> None:
            self._listeners.pop(key, None)

        return stop

    @contextmanager
    def _want(self, uris: list[str]) -> Iterator[None]:
        self._ask_for(uris, 1)
        try:
            yield
        finally:
            self._ask_for(uris, -1)

    def _ask_for(self, uris: list[str], by: int) -> None:
        before = set(self._wanted)
        for uri in uris:
            self._wanted[uri] += by
        self._wanted = +self._wanted
        if set(self._wanted) != before:
            self._revised.set()
            self._revised = anyio.Event()

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
        uri = str(params.uri)
        servers = frozenset(upstream.name for upstream in self._passthrough.allowed(exchange_of(ctx).principal))
        key = (session_of(ctx), uri)
        if key[0] and key not in self._older:
            self._ask_for([uri], 1)
            stop = self.listen(servers, partial(self._updated, ctx.session, uri))
            self._older[key] = stop
            if len(self._older) > SUBSCRIBED:
                self._forget(next(iter(self._older)))
        return {}

    async def _unsubscribe(self, ctx: Context, params: UnsubscribeRequestParams) -> Message:
        self._forget((session_of(ctx), str(params.uri)))
        return {}

    def _forget(self, key: tuple[str, str]) -> None:
        if stop := self._older.pop(key, None):
            stop()
            self._ask_for([key[1]], -1)

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


async def _send(session: ServerSession, uri: str) -> None:
    try:
        await session.send_resource_updated(uri)
    except (anyio.ClosedResourceError, anyio.BrokenResourceError):
        log.debug("subscriber gone", uri=uri)
