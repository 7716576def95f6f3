"""The MCP endpoint: one low-level server of the SDK, one `McpApp` (next door in `door`) per listener.

Both eras of the protocol come in at one address. A call that waits is answered as an event stream whose headers go out
at once: clients give up on a late body. The SDK's sessions of the older wire carry what an upstream asks of the client
in mid-call; nothing that must last is in them.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
from mcp.server import ServerRequestContext
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from mcp_types import CallToolRequestParams, PaginatedRequestParams

from control.approvals.desk import Desk
from control.identity import sessions
from control.identity.caps import Caps
from control.identity.doorkeeper import Doorkeeper, Listener
from kit.bus import Bus
from kit.db import Database
from mcp_server.answers import COMPLETE
from mcp_server.calling import Calling
from mcp_server.calls import Calls
from mcp_server.catalog import Catalog, shown
from mcp_server.direct import Direct
from mcp_server.door import McpApp
from mcp_server.hearing import exchange_of
from mcp_server.news import Announcing, News
from mcp_server.passthrough import Passthrough
from mcp_server.settings import McpSettings
from mcp_server.tasks import Tasks
from mcp_server.trust import Trust
from mcp_server.upstream.upstream import Upstream

VERSION = "0.1.0"
FRESH_MS = 5_000
"""How long a client may keep a list of tools; it is this principal's alone."""
INSTRUCTIONS = (
    "These are the tools this run may use. Some need a person's approval: call them directly; the call waits for it. "
    "If a call breaks off, make it again with the same arguments: nothing runs twice."
)


class McpEndpoint:
    """What the listeners share: upstreams, calls, the SDK's server. Make the apps first, then enter `run`."""

    def __init__(self, db: Database, bus: Bus, desk: Desk, settings: McpSettings, *, public_url: str = "") -> None:
        self._db = db
        self._bus = bus
        self._trust = trust = Trust(db, bus)
        self._upstreams = [Upstream(name, its, trust.learner(name, its)) for name, its in settings.servers.items()]
        self.catalog = Catalog(self._upstreams, trust)
        self.calls = Calls(db, bus, desk, self.catalog)
        self._apps: list[McpApp] = []
        self._listed: set[str] = set()
        self._levels: dict[str, str] = {}
        self._server = Announcing(
            "preloop", version=VERSION, instructions=INSTRUCTIONS, get_tool_input_schema=self.catalog.schema_of
        )
        self._server.middleware.clear()  # the SDK's spans: nobody reads them, and each call pays for them
        self._server.add_request_handler("tools/list", PaginatedRequestParams, self._list_tools)
        tasks = Tasks(db, self.calls)
        tasks.register(self._server)
        calling = Calling(db, self.calls, self.catalog, tasks, self._levels, public_url.rstrip("/"))
        self._server.add_request_handler("tools/call", CallToolRequestParams, calling.call)
        passthrough = Passthrough(self.catalog, self._levels)
        passthrough.register(self._server)
        self._news = News(passthrough, bus)
        self._news.register(self._server)

    def app(
        self, listener: Listener, *, hosts: Sequence[str], origins: Sequence[str] = (), caps: Caps | None = None
    ) -> "McpApp":
        """The endpoint on one listener. `hosts` are the Host headers it answers to; `name:*` takes any port. Pages of
        the same names may call it, and those of `origins`: they need a token like everybody. `caps` are what one
        session may do in this process, None is no limit."""
        own = [f"{scheme}://{host}" for host in hosts for scheme in ("http", "https")]
        security = TransportSecuritySettings(allowed_hosts=list(hosts), allowed_origins=[*own, *origins])
        guard = TransportSecurityMiddleware(security)
        made = McpApp(
            Doorkeeper(self._db, self._bus, listener),
            self._bus,
            self.calls,
            self._news,
            within=StreamableHTTPSessionManager(self._server, security_settings=security),
            alone=StreamableHTTPSessionManager(self._server, stateless=True, security_settings=security),
            direct=Direct(self.calls, self.catalog, guard, lambda: self._server.server_info_stamp),
            security=guard,
            caps=caps,
        )
        self._apps.append(made)
        return made

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Connect the upstreams and answer requests inside of this. An upstream that is down does not keep us."""
        async with anyio.create_task_group() as supervised, AsyncExitStack() as stack:
            supervised.start_soon(self._trust.run)
            for upstream in self._upstreams:
                supervised.start_soon(upstream.run)
            supervised.start_soon(self._news.run, self._upstreams)
            for app in self._apps:
                for manager in app.managers:
                    await stack.enter_async_context(manager.run())
            await stack.enter_async_context(self.calls.run())
            try:
                yield
            finally:
                self.drain()
                await stack.aclose()
                supervised.cancel_scope.cancel()

    @property
    def answered_directly(self) -> int:
        """How many calls were answered past the SDK."""
        return sum(app.direct.answered for app in self._apps)

    def drain(self) -> None:
        """Tell all waiting clients to call again. Call this when the process is asked to stop, before its listeners
        wait for open requests; safe to repeat."""
        self.calls.drain()
        for app in self._apps:
            app.drain()

    async def _list_tools(self, ctx: ServerRequestContext[Any, Any], params: PaginatedRequestParams) -> dict[str, Any]:
        principal = exchange_of(ctx).principal
        offers = await self.catalog.offers(principal)
        if principal.session_id not in self._listed:
            await self._db.write(lambda tx: sessions.mark_used(tx, principal.session_id, tools=True))
            self._listed.add(principal.session_id)
        return COMPLETE | {"tools": shown(offers.values()), "ttlMs": FRESH_MS, "cacheScope": "private"}
