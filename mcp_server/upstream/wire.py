"""HTTP to one upstream for the SDK's client, which opens the connection and hears what comes unasked; with three
promises it relies on. Requests go by `post`.

No failure of one request is raised into the session that all calls share: it comes back as that request's own JSON-RPC
error. No redirect is followed. No answer is longer than `MAX_ANSWER`. An address may be private: an admin wrote it into
the configuration.
"""

import httpx2
from mcp_types import INTERNAL_ERROR

MAX_ANSWER = 4 * 1024 * 1024
CONNECT_S = 5.0
CONNECTIONS = 200
IDLE_S = 3.0
"""Below the five seconds after which uvicorn closes an idle connection: a request must not meet that."""


class Wire(httpx2.AsyncBaseTransport):
    """A transport of httpx2 that keeps the promises. `session_id` is the one the upstream gave us last."""

    def __init__(self) -> None:
        limits = httpx2.Limits(
            max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS, keepalive_expiry=IDLE_S
        )
        self._inner = httpx2.AsyncHTTPTransport(limits=limits, trust_env=False)
        self.session_id: str | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            response = await self._inner.handle_async_request(request)
            return await self._judge(request, response)
        except httpx2.TransportError as error:
            return _refusal(request, f"no connection ({str(error) or type(error).__name__})")

    async def _judge(self, request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
        if "mcp-session-id" not in request.headers and "mcp-session-id" in response.headers:
            self.session_id = response.headers["mcp-session-id"]
        if 300 <= response.status_code < 400:
            await response.aclose()
            return _refusal(request, "it redirects, and redirects are not followed")
        if response.status_code == 404 and request.method == "POST" and "mcp-session-id" in request.headers:
            await response.aclose()  # it was restarted; the specification calls for a new session
            return _refusal(request, "it forgot our session")
        if not response.headers.get("content-type", "").lower().startswith("application/json"):
            return response
        return await _whole(request, response)

    async def aclose(self) -> None:
        await self._inner.aclose()


async def _whole(request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
    """The same answer with its body read, so that a connection lost half-way is met here."""
    body = bytearray()
    try:
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        async for chunk in response.stream:
            body += chunk
            if len(body) > MAX_ANSWER:
                return _refusal(request, f"its answer is larger than {MAX_ANSWER // 2**20} MB")
    finally:
        await response.aclose()
    return httpx2.Response(response.status_code, headers=response.headers, content=bytes(body), request=request)


def _refusal(request: httpx2.Request, message: str) -> httpx2.Response:
    body = {"jsonrpc": "2.0", "id": None, "error": {"code": INTERNAL_ERROR, "message": message}}
    return httpx2.Response(503, json=body, request=request)


def http_client(transport: Wire, headers: dict[str, str]) -> httpx2.AsyncClient:
    """The one client of an upstream. Reading has no limit here: each call brings its own."""
    timeout = httpx2.Timeout(CONNECT_S, read=None)
    plain = {"accept-encoding": "identity"}
    return httpx2.AsyncClient(transport=transport, headers=plain | headers, timeout=timeout, trust_env=False)
