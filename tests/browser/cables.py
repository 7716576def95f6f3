"""The open sockets of a served application, which a test can cut as a dying network does: without a goodbye."""

import anyio
from starlette.types import ASGIApp, Receive, Scope, Send


class Cables:
    """A layer around the application that holds every WebSocket."""

    def __init__(self) -> None:
        self._open: set[anyio.CancelScope] = set()

    def fit(self, app: ASGIApp) -> ASGIApp:
        async def held(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "websocket":
                await app(scope, receive, send)
                return
            with anyio.CancelScope() as cable:
                self._open.add(cable)
                try:
                    await app(scope, receive, send)
                finally:
                    self._open.discard(cable)

        return held

    def cut(self) -> int:
        """Cut them all; how many there were."""
        cut = list(self._open)
        for cable in cut:
            cable.cancel()
        return len(cut)
