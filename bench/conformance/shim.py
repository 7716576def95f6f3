"""In front of our endpoint, for a suite that cannot send a header of its own: adds the bearer token, changes nothing
else, streams both ways, and hangs up when its client does."""

from contextlib import AsyncExitStack

import anyio
import httpx
from starlette.types import Receive, Scope, Send

HOPS = {b"connection", b"transfer-encoding", b"keep-alive", b"content-length"}


class Shim:
    """An ASGI app. Every path goes to the one endpoint."""

    def __init__(self, http: httpx.AsyncClient, endpoint: str, token: str) -> None:
        self._http = http
        self._endpoint = endpoint
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = bytearray()
        while (message := await receive()).get("more_body"):
            body += message["body"]
        body += message.get("body", b"")
        headers = [(name, value.strip()) for name, value in scope["headers"] if name not in HOPS]
        headers.append((b"authorization", f"Bearer {self._token}".encode()))

        async with anyio.create_task_group() as both:

            async def hang_up() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                both.cancel_scope.cancel()

            both.start_soon(hang_up)
            await self._forward(scope["method"], headers, bytes(body), send)
            both.cancel_scope.cancel()

    async def _forward(self, method: str, headers: list[tuple[bytes, bytes]], body: bytes, send: Send) -> None:
        async with AsyncExitStack() as stack:
            asked = self._http.stream(method, self._endpoint, headers=headers, content=body)
            answer = await stack.enter_async_context(asked)
            kept = [(name.lower(), value) for name, value in answer.headers.raw if name.lower() not in HOPS]
            await send({"type": "http.response.start", "status": answer.status_code, "headers": kept})
            async for chunk in answer.aiter_raw():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
