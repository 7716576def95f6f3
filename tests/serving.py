"""ASGI applications on loopback ports.

Uvicorn looks ten times a second whether to end, and waits as long again before it does. Hundreds of tests would each
wait for that, so a server here ends when its block does.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import uvicorn
from starlette.types import ASGIApp
from uvicorn.config import WSProtocolType

GRACE_S = 1.0
"""How long an answer that is under way at the end may take; then it is cancelled."""


@asynccontextmanager
async def serving(
    app: ASGIApp, *, ws: WSProtocolType = "auto", grace_s: float = GRACE_S, tls: Path | None = None
) -> AsyncIterator[str]:
    """An application on a free port of 127.0.0.1, which listens before the block begins; its origin. `tls` is a PEM
    file with a certificate for `localhost` and its key."""
    config = uvicorn.Config(app, lifespan="off", ws=ws, log_config=None, access_log=False, ssl_certfile=tls)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    listening = socket.socket(proto=socket.IPPROTO_TCP)  # named, or asyncio does not set TCP_NODELAY
    listening.bind(("127.0.0.1", 0))
    await server.startup(sockets=[listening])
    await server.on_tick(0)  # the Date of its answers
    try:
        yield f"{'https://localhost' if tls else 'http://127.0.0.1'}:{listening.getsockname()[1]}"
    finally:
        with anyio.CancelScope(shield=True):
            await _end(server, grace_s)


async def _end(server: uvicorn.Server, grace_s: float) -> None:
    for listener in server.servers:
        listener.close()
    state = server.server_state
    for connection in list(state.connections):
        connection.shutdown()
    if answering := set(state.tasks):
        _, late = await asyncio.wait(answering, timeout=grace_s)
        for task in late:
            task.cancel()
        await asyncio.wait(answering, timeout=grace_s)
    for connection in list(state.connections):
        connection.transport.close()
    await anyio.lowlevel.checkpoint()  # in which the transports tell their protocols
