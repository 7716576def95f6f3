"""The endpoint on one listener, as an ASGI app for its path: it admits, chooses who answers, and the SDK does the rest.

Three kinds of requests come in: revision 2026-07-28, where each stands alone; the older wire inside a session of the
transport, which this process made; and the older wire without one, because the client has none or we were restarted.
The last kind is served all the same: calls stand alone, a stream is taken up from the call's row, others idle.
"""

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

import anyio
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecurityMiddleware
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from control.identity import sessions
from control.identity.caps import Caps
from control.identity.doorkeeper import Doorkeeper
from control.identity.principals import Principal
from kit import asgi, canonical
from kit.bus import Bus
from kit.errors import Invalid, Missing, Throttled, Unauthorized
from mcp_server import resume
from mcp_server.asked import Waiting
from mcp_server.calls import Calls
from mcp_server.direct import Direct
from mcp_server.exchange import EXCHANGE, MAX_BODY, Exchange, TooLarge, body_of
from mcp_server.news import News
from mcp_server.resume import Trail

METHODS = ("GET", "POST", "DELETE")
SESSION = "mcp-session-id"
LOOK_S = 60.0
"""An idle stream asks at least this often whether its session lives."""


class McpApp:
    """`within` keeps sessions of the older wire, `alone` serves what comes without one, and the newest revision."""

    def __init__(
        self,
        doorkeeper: Doorkeeper,
        bus: Bus,
        calls: Calls,
        news: News,
        *,
        within: StreamableHTTPSessionManager,
        alone: StreamableHTTPSessionManager,
        direct: Direct,
        security: TransportSecurityMiddleware,
        caps: Caps | None = None,
    ) -> None:
        self.managers = (within, alone)
        self._within = within
        self._alone = alone
        self._doorkeeper = doorkeeper
        self._bus = bus
        self._calls = calls
        self._news = news
        self.direct = direct
        self._security = security
        self._caps = caps
        self._lasting: set[Exchange] = set()

    def drain(self) -> None:
        """End the streams that only listen. Safe to repeat."""
        for exchange in self._lasting:
            exchange.leave()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        if scope["method"] not in METHODS:
            await Response(status_code=405, headers={"Allow": ", ".join(METHODS)})(scope, receive, send)
            return
        token = asgi.bearer(headers) or ""
        try:
            principal = await self._doorkeeper.admit(token)
            body = await body_of(receive) if scope["method"] == "POST" else b""
        except Unauthorized as fault:
            await asgi.problem(fault)(scope, receive, send)
            return
        except TooLarge:
            await Response(f"more than {MAX_BODY} bytes", status_code=413)(scope, receive, send)
            return
        message, unclear = _opened(body) if body else (None, None)
        method = _method(message)
        lasting = scope["method"] == "GET" and resume.trail(headers.get("last-event-id", "")) is None
        lasting |= method == "subscriptions/listen"
        exchange = Exchange(
            principal, lambda: self._doorkeeper.admit(token), body, receive, send, unclear, lasting=lasting
        )
        try:
            held = ExitStack()
            if self._caps is not None:
                held.enter_context(self._caps.inside(principal.session_id, lasting=lasting))
        except Throttled as fault:
            await asgi.problem(fault)(scope, receive, send)
            return
        await self._answer(scope, headers, exchange, method, message, held)

    async def _answer(
        self, scope: Scope, headers: Headers, exchange: Exchange, method: str, message: object, held: ExitStack
    ) -> None:
        """Answer, give back what is `held` of the session's share, and see to it that whatever was begun ends well."""
        try:
            with held:
                if method != "tools/call" or not await self.direct.answer(scope, exchange, message):
                    carried = {**scope, EXCHANGE: exchange, "user": _user(exchange.principal)}
                    await self._serve(carried, headers, exchange, method)
        finally:
            if exchange.begun is not None:
                exchange.begun.taken.set()
            with anyio.CancelScope(shield=True):
                await exchange.close()
                if exchange.answer is not None:
                    await self._calls.parting.over(exchange.answer, delivered=exchange.delivered)

    async def _serve(self, scope: Scope, headers: Headers, exchange: Exchange, method: str) -> None:
        """Who answers: the stream of a call taken up again, a session, or neither."""
        version = headers.get("mcp-protocol-version")
        exchange.holds = method == "tools/call"
        if version is not None and version not in HANDSHAKE_PROTOCOL_VERSIONS:
            async with self._guarded(exchange):
                await self._alone.handle_request(scope, exchange.receive, exchange.send)
        elif scope["method"] == "GET" and (trail := resume.trail(headers.get("last-event-id", ""))):
            await self._take_up(scope, exchange, trail)
        elif method == "initialize":
            others = [(name, value) for name, value in scope["headers"] if name != SESSION.encode()]
            if not await self._in_session({**scope, "headers": others}, exchange):
                await self._without(scope, exchange)
        elif SESSION not in headers or not await self._in_session(scope, exchange):
            await self._without(scope, exchange)

    async def _in_session(self, scope: Scope, exchange: Exchange) -> bool:
        """Let the session answer; False, with nothing sent, when it is not known or there can't be one more."""
        refused = {404, 503} | ({409} if scope["method"] == "GET" else set())  # 409: it listens already, or seems to
        served = True

        async def send(message: Message) -> None:
            nonlocal served
            if message["type"] == "http.response.start" and message["status"] in refused:
                served = False
            if served:
                await exchange.send(message)

        async with self._guarded(exchange):
            await self._within.handle_request(scope, exchange.receive, send)
        return served

    async def _without(self, scope: Scope, exchange: Exchange) -> None:
        """A request of the older wire that has no session here, or none any more."""
        if scope["method"] == "POST":
            exchange.again()
            await self._alone.handle_request(scope, exchange.receive, exchange.send)
        elif not any(name == SESSION.encode() for name, _ in scope["headers"]):
            await Response(status_code=405, headers={"Allow": "POST"})(scope, exchange.receive, exchange.send)
        elif refusal := await self._security.validate_request(Request(scope)):
            await refusal(scope, exchange.receive, exchange.send)
        elif scope["method"] == "DELETE":
            await Response(status_code=200)(scope, exchange.receive, exchange.send)
        else:
            await self._idle(exchange)

    async def _idle(self, exchange: Exchange) -> None:
        """A stream on which nothing comes: what its client listened to went with the process before us."""
        await exchange.open()
        async with self._guarded(exchange), anyio.create_task_group() as beside:
            beside.start_soon(exchange.ping)
            await exchange.watch()
            beside.cancel_scope.cancel()

    @asynccontextmanager
    async def _guarded(self, exchange: Exchange) -> AsyncIterator[None]:
        """A stream that only listens ends, inside of this, with its session and with us; others are left alone."""
        if not exchange.lasting:
            yield
            return
        async with anyio.create_task_group() as beside:
            beside.start_soon(self._guard, exchange)
            if exchange.plain:
                beside.start_soon(self._news.stream, exchange.principal, exchange.tell)
            yield
            beside.cancel_scope.cancel()

    async def _guard(self, exchange: Exchange) -> None:
        """End a lasting stream when its session ends or we stop."""
        self._lasting.add(exchange)
        try:
            id_ = exchange.principal.session_id
            with self._bus.watch(sessions.topic(id_)) as watch, self._calls.sends.attend(id_):
                while True:
                    await watch.changed(LOOK_S)
                    await exchange.admitted()
        except Unauthorized:
            exchange.leave()
        finally:
            self._lasting.discard(exchange)

    async def _take_up(self, scope: Scope, exchange: Exchange, trail: Trail) -> None:
        """The rest of a call's stream: that it waits, and in the end its answer under the id the call had."""
        if refusal := await self._security.validate_request(Request(scope)):
            await refusal(scope, exchange.receive, exchange.send)
            return
        try:
            row = await self._calls.find(exchange.principal, trail.call)
        except Missing as fault:
            await asgi.problem(fault)(scope, exchange.receive, exchange.send)
            return
        exchange.follow(trail, primes=False)
        await exchange.open()
        async with anyio.create_task_group() as beside:

            async def listen() -> None:
                await exchange.watch()
                beside.cancel_scope.cancel()

            beside.start_soon(listen)
            beside.start_soon(exchange.ping)
            waiting = Waiting(principal=exchange.principal, report=exchange.reporter(trail), admitted=exchange.admitted)
            exchange.answer = await self._calls.resume(waiting, row)
            await exchange.put(trail.result(exchange.answer.result))
            exchange.delivered = not exchange.gone
            beside.cancel_scope.cancel()


def _user(principal: Principal) -> AuthenticatedUser:
    """Whose session of the transport it is, in the SDK's words: it keeps those of others out."""
    return AuthenticatedUser(AccessToken(token="", client_id=principal.session_id, scopes=[]))


def _opened(body: bytes) -> tuple[object, Invalid | None]:
    """The message, and what makes its text ambiguous: the SDK's parser lets that pass, so a call is told here."""
    try:
        return canonical.parse(body), None
    except Invalid as fault:
        return None, fault


def _method(message: object) -> str:
    method = message.get("method") if isinstance(message, dict) else None
    return method if isinstance(method, str) else ""
