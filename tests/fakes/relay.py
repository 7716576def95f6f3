"""The containers' relay on this host, without containers: what stands between an agent and us, and outlives us."""

import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

PROGRAM = Path(__file__).parents[2] / "images" / "relay" / "relay.js"


@asynccontextmanager
async def relay(port: int, *, inner: str = "127.0.0.0/8", hold_ms: int = 120_000) -> AsyncIterator[str]:
    """The origin under which everything goes to a port of the loopback, now or as soon as somebody listens there."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    own: int = listener.extra(anyio.abc.SocketAttribute.local_port)
    await listener.aclose()
    command = ["node", str(PROGRAM), inner, f"{own}=127.0.0.1:{port}"]
    env = {**os.environ, "HOLD_MS": str(hold_ms)}
    async with await anyio.open_process(command, env=env, stdin=subprocess.DEVNULL, stderr=None) as process:
        assert process.stdout
        with anyio.fail_after(30):
            assert b"leads to" in await process.stdout.receive()
        try:
            yield f"http://127.0.0.1:{own}"
        finally:
            process.kill()
