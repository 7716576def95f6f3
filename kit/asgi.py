"""The plain ASGI layers our listeners wear: `Requests`, `Headers`, `Faults`, `Hosts`, `SameOrigin`, `Bodies`.

That is their order, outermost first. They know no route and no person; each passes lifespan through. `PAGE_HEADERS` is
the strict set for pages of our own: no inline script or style, nothing from elsewhere. `problem` is the REST face of a
Fault (RFC 9457).
"""

import re
import time
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers as Read
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from kit.errors import Fault, Invalid, Refused, Throttled
from kit.ids import new_id
from kit.metrics import Histogram
from kit.observe import log

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    # not no-referrer: that makes browsers send `Origin: null` with our own forms
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "x-robots-tag": "noindex, nofollow",
    "cache-control": "no-store",
}
ANSWERED = Histogram("preloop_http_response_seconds", "From a request to its answer's first byte.", "door", "status")
_KINDS = ("0xx", "1xx", "2xx", "3xx", "4xx", "5xx")
HSTS = {"strict-transport-security": "max-age=31536000"}


class Misdirected(Refused):
    """This address is not one of ours."""

    status = 421


def problem(fault: Fault, request_id: str = "") -> Response:
    """RFC 9457 with our two members `code` and `hint`; server errors also name the request to look for in the log."""
    title = HTTPStatus(fault.status).phrase
    body: dict[str, object] = {"type": "about:blank", "title": title, "status": fault.status}
    body |= {"detail": fault.message, "code": fault.code, "hint": fault.hint}
    if fault.status >= 500 and request_id:
        body["request_id"] = request_id
    headers = {"www-authenticate": "Bearer"} if fault.status == 401 else {}
    if isinstance(fault, Throttled):
        headers["retry-after"] = str(fault.retry_after_s)
    return JSONResponse(body, fault.status, headers, media_type="application/problem+json")


def refusal(status: int, code: str, message: str, hint: str = "") -> Fault:
    """A Fault for a status that is a matter of HTTP alone and has no class in the tree."""
    fault = Fault(code, message, hint)
    fault.status = status
    return fault


def bearer(headers: Read) -> str | None:
    """The token of an Authorization header, '' when it carries something else, None without one."""
    header = headers.get("authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def request_id(scope: Scope) -> str:
    """What `Requests` gave to this request."""
    return str(scope.get("state", {}).get("request_id", ""))


def timed(send: Send, door: str) -> Send:
    """A `send` that takes note of how long this request's answer took to begin. How long it went on is its own matter:
    a stream's or a waiting call's answer is long because the world is."""
    began = time.monotonic()

    async def noting(message: Message) -> None:
        if message["type"] == "http.response.start":
            ANSWERED.observe(time.monotonic() - began, door, _KINDS[message["status"] // 100])
        await send(message)

    return noting


class Requests:
    """A number for each request, on every log line made inside it, and one access line at its end.

    `shown` turns a path into what may be written down: paths carry secrets on some routes, query strings are never
    written. Reads that went well are logged at debug.
    """

    def __init__(self, app: ASGIApp, shown: Callable[[str], str] = lambda path: path) -> None:
        self._app = app
        self._shown = shown

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        number, began, status = new_id("req"), time.monotonic(), 0
        scope.setdefault("state", {})["request_id"] = number

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = number
            await send(message)

        method = scope.get("method", "WEBSOCKET")
        with structlog.contextvars.bound_contextvars(request_id=number):
            try:
                await self._app(scope, receive, noting)
            finally:
                line = log.debug if method in SAFE and status < 400 else log.info
                ms = round((time.monotonic() - began) * 1000, 1)
                line("request", method=method, path=self._shown(scope["path"]), status=status, ms=ms)


class Headers:
    """Headers for every answer that did not set them itself."""

    def __init__(self, app: ASGIApp, headers: Mapping[str, str]) -> None:
        self._app = app
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def adding(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, adding if scope["type"] == "http" else send)


class Faults:
    """Turns a Fault, or anything unexpected, into an answer; what was unexpected is logged and not told."""

    def __init__(self, app: ASGIApp, answer: Callable[[Scope, Fault], Response] | None = None) -> None:
        self._app = app
        self._answer = answer or (lambda scope, fault: problem(fault, request_id(scope)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def noting(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except ClientDisconnect:
            log.info("the client left before it had said all", path=scope["path"])
        except Exception as error:
            if started or scope["type"] == "lifespan":
                raise
            if not isinstance(error, Fault):
                log.exception("request failed")
            face = WebSocketClose(1008, "") if scope["type"] == "websocket" else self._answer(scope, _told(error))
            await face(scope, receive, send)


def _told(error: Exception) -> Fault:
    if isinstance(error, Fault):
        return error
    return Fault("internal_error", "Something went wrong on our side.", "The server's log has the details.")


class Bodies:
    """No body larger than a limit is read, whether its length is announced or not."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        read = 0
        announced = Read(scope=scope).get("content-length", "0") if scope["type"] == "http" else "0"
        self._check(int(announced) if announced.isdecimal() else self._limit + 1)

        async def counting() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b"")) if message["type"] == "http.request" else 0
            self._check(read)
            return message

        await self._app(scope, counting, send)

    def _check(self, size: int) -> None:
        if size > self._limit:
            message = f"The body is larger than {self._limit} bytes."
            raise refusal(413, "body_too_large", message, "Send a reference to the data instead of the data.")


def _host(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"host":
            return str(value.decode("latin-1"))
    return ""


def _is_odd(scope: Scope) -> bool:
    """A NUL in the address: no name of ours has one, and PostgreSQL takes none."""
    return "\x00" in scope.get("path", "") or b"%00" in scope.get("query_string", b"")


OPERATIONS = frozenset({"/healthz", "/readyz", "/metrics"})
"""Asked by address, of each replica: probes and Prometheus know no name. They say nothing without a token but yes or
no."""


class Hosts:
    """Answers only to its own names, whatever the port: a page that rebinds its DNS name to us gets a 421."""

    def __init__(self, app: ASGIApp, allowed: Iterable[str]) -> None:
        self._app = app
        self._allowed = frozenset(name.lower() for name in allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = "" if scope["type"] == "lifespan" else host_name(_host(scope))
        free = scope["type"] == "lifespan" or (scope["type"] == "http" and scope["path"] in OPERATIONS)
        if not free and name not in self._allowed:
            message = f"This server does not answer to the name {name[:100]!r}."
            fault: Fault = Misdirected("host_unknown", message, "Set PRELOOP_PUBLIC_URL to the address people use.")
        elif _is_odd(scope):
            fault = Invalid("address_invalid", "The address holds a NUL.", "Leave it out.")
        else:
            await self._app(scope, receive, send)
            return
        answer = WebSocketClose(1008) if scope["type"] == "websocket" else problem(fault, request_id(scope))
        await answer(scope, receive, send)


_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::\d{1,5})?", re.ASCII | re.IGNORECASE)


def host_name(host: str) -> str:
    """The name of a Host header without its port: `[::1]:8080` → '::1'; '' when it is none."""
    found = _HOST.fullmatch(host)
    return (found[1] or found[2]).lower() if found else ""


class SameOrigin:
    """A browser may change something here only from a page of ours.

    Decided by `Sec-Fetch-Site`, else `Origin` against `Host` (which `Hosts` has checked). A request with neither comes
    from no browser: it passes unless it carries cookies. WebSocket handshakes are always checked.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        unsafe = scope["type"] == "websocket" or (scope["type"] == "http" and scope["method"] not in SAFE)
        if unsafe and not is_own(Read(scope=scope)):
            raise Refused(
                "cross_origin",
                "This request came from another site's page.",
                "Open the page here and try again; programs use an API token, or send an Origin header.",
            )
        await self._app(scope, receive, send)


def is_own(headers: Read) -> bool:
    """Did a page of ours send this, or something that is no browser and holds no cookie?"""
    if (site := headers.get("sec-fetch-site")) is not None:
        return site in {"same-origin", "none"}
    if (origin := headers.get("origin")) is not None:
        return urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
    return "cookie" not in headers
