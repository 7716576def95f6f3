"""The MCP endpoint: one low-level server of the SDK, one `McpApp` per listener that knows whose request it is.

Both eras of the protocol come in at one address; every answer stands alone, so no session of the transport is kept. A
call that waits is answered as an event stream whose headers go out at once: clients give up on a late body.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
from mcp.server import Server, ServerRequestContext
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp_types import CallToolRequestParams, PaginatedRequestParams
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from control.approvals.desk import Desk
from control.identity import sessions
from control.identity.sessions import Doorkeeper, Listener
from kit import canonical
from kit.bus import Bus
from kit.db import Database
from kit.errors import Fault, Invalid, Unauthorized
from mcp_server.calls import Asked, Calls
from mcp_server.catalog import Catalog
from mcp_server.exchange import EXCHANGE, MAX_BODY, Exchange, TooLarge, body_of
from mcp_server.settings import McpSettings
from mcp_server.upstream import Upstream

VERSION = "0.1.0"
FRESH_MS = 5_000
"""How long a client may keep a list of tools; it is this principal's alone."""
COMPLETE = {"resultType": "complete"}
"""Required of every result at 2026-07-28; the SDK takes it off for the older revisions."""
INSTRUCTIONS = (
    "These are the tools this run may use. Some need a person's approval: call them directly; the call waits for it. "
    "If a call breaks off, make it again with the same arguments: nothing runs twice."
)


class McpEndpoint:
    """What the listeners share: upstreams, calls, the SDK's server. Make the apps first, then enter `run`."""

    def __init__(self, db: Database, bus: Bus, desk: Desk, settings: McpSettings) -> None:
        self._db = db
        self._bus = bus
        self._upstreams = [Upstream(name, server) for name, server in settings.servers.items()]
        self.catalog = Catalog(self._upstreams)
        self.calls = Calls(db, bus, desk, self.catalog)
        self._apps: list[McpApp] = []
        self._listed: set[str] = set()
        self._server: Server[Any] = Server(
            "preloop", version=VERSION, instructions=INSTRUCTIONS, get_tool_input_schema=self.catalog.schema_of
        )
        self._server.add_request_handler("tools/list", PaginatedRequestParams, self._list_tools)
        self._server.add_request_handler("tools/call", CallToolRequestParams, self._call_tool)

    def app(self, listener: Listener, *, hosts: Sequence[str], origins: Sequence[str] = ()) -> "McpApp":
        """The endpoint on one listener. `hosts` are the Host headers it answers to; `name:*` takes any port."""
        security = TransportSecuritySettings(allowed_hosts=list(hosts), allowed_origins=list(origins))
        manager = StreamableHTTPSessionManager(
            self._server, stateless=True, json_response=False, security_settings=security
        )
        made = McpApp(Doorkeeper(self._db, self._bus, listener), manager, self.calls)
        self._apps.append(made)
        return made

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Connect the upstreams and answer requests inside of this. An upstream that is down does not keep us."""
        async with anyio.create_task_group() as supervised, AsyncExitStack() as stack:
            for upstream in self._upstreams:
                supervised.start_soon(upstream.run)
            for app in self._apps:
                await stack.enter_async_context(app.manager.run())
            await stack.enter_async_context(self.calls.run())
            try:
                yield
            finally:
                self.drain()
                await stack.aclose()
                supervised.cancel_scope.cancel()

    def drain(self) -> None:
        """Tell all waiting clients to call again. Call this when the process is asked to stop, before its listeners
        wait for open requests; safe to repeat."""
        self.calls.drain()

    async def _list_tools(self, ctx: ServerRequestContext[Any, Any], params: PaginatedRequestParams) -> dict[str, Any]:
        principal = _exchange(ctx).principal
        offers = await self.catalog.offers(principal)
        if principal.session_id not in self._listed:
            await self._db.write(lambda tx: sessions.mark_used(tx, principal.session_id, tools=True))
            self._listed.add(principal.session_id)
        tools = [offer.shown() for offer in offers.values()]
        return COMPLETE | {"tools": tools, "ttlMs": FRESH_MS, "cacheScope": "private"}

    async def _call_tool(self, ctx: ServerRequestContext[Any, Any], params: CallToolRequestParams) -> dict[str, Any]:
        exchange = _exchange(ctx)
        reports = 0

        async def report(message: str) -> None:
            nonlocal reports
            reports += 1
            await exchange.open()
            await ctx.session.report_progress(reports, message=message)

        exchange.answer = await self.calls.call(
            Asked(
                principal=exchange.principal,
                name=params.name,
                arguments=params.arguments or {},
                fault=exchange.fault,
                report=report,
                admitted=exchange.admitted,
            )
        )
        return COMPLETE | exchange.answer.result


class McpApp:
    """The endpoint on one listener, as an ASGI app for its path. It admits, and the SDK does the protocol."""

    def __init__(self, doorkeeper: Doorkeeper, manager: StreamableHTTPSessionManager, calls: Calls) -> None:
        self.manager = manager
        self._doorkeeper = doorkeeper
        self._calls = calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":  # there is no stream to listen to and no session to delete
            await Response(status_code=405, headers={"Allow": "POST"})(scope, receive, send)
            return
        token = _bearer(Headers(scope=scope).get("authorization", ""))
        try:
            principal = await self._doorkeeper.admit(token)
            body = await body_of(receive)
        except Unauthorized as fault:
            await _problem(fault, {"WWW-Authenticate": "Bearer"})(scope, receive, send)
            return
        except TooLarge:
            await Response(f"more than {MAX_BODY} bytes", status_code=413)(scope, receive, send)
            return
        exchange = Exchange(principal, lambda: self._doorkeeper.admit(token), body, receive, send, _strict(body))
        try:
            await self.manager.handle_request({**scope, EXCHANGE: exchange}, exchange.receive, exchange.send)
        finally:
            with anyio.CancelScope(shield=True):
                if exchange.answer is not None:
                    await self._calls.parted(exchange.answer, delivered=exchange.delivered)


def _exchange(ctx: ServerRequestContext[Any, Any]) -> Exchange:
    found = ctx.request.scope[EXCHANGE] if ctx.request is not None else None
    assert isinstance(found, Exchange)
    return found


def _bearer(header: str) -> str:
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _strict(body: bytes) -> Invalid | None:
    """What makes this text ambiguous. The SDK's parser lets it pass, so a call is told here."""
    try:
        canonical.parse(body)
    except Invalid as fault:
        return fault
    return None


def _problem(fault: Fault, headers: dict[str, str]) -> Response:
    body = {"code": fault.code, "message": fault.message, "hint": fault.hint}
    return JSONResponse(body, status_code=fault.status, headers=headers)
