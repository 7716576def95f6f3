"""What stands between an agent and us and outlives us: it takes connections and, while we are down, dials again.

The containers' relay does the same. Without one, two of three clients give up within seconds of a refused connection.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.abc
from anyio.abc import ByteStream, SocketStream

HOLD_S = 120.0
REDIAL_S = 0.5


@asynccontextmanager
async def relay(port: int) -> AsyncIterator[str]:
    """The origin under which everything goes to a port of the loopback, now or as soon as somebody listens there."""

    async def carry(client: SocketStream) -> None:
        async with client:
            plane = await _dial(port)
            if plane is None:
                return
            async with plane, anyio.create_task_group() as ways:
                ways.start_soon(_pump, client, plane, ways.cancel_scope)
                ways.start_soon(_pump, plane, client, ways.cancel_scope)

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as serving,
    ):
        serving.start_soon(listener.serve, carry)
        yield f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
        serving.cancel_scope.cancel()


async def _dial(port: int) -> SocketStream | None:
    with anyio.move_on_after(HOLD_S):
        while True:
            try:
                return await anyio.connect_tcp("127.0.0.1", port)
            except OSError:
                await anyio.sleep(REDIAL_S)  # as the containers' relay, which dials at this pace
    return None


async def _pump(source: ByteStream, sink: ByteStream, both: anyio.CancelScope) -> None:
    """One direction; when one side ends, both do."""
    try:
        async for chunk in source:
            await sink.send(chunk)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        pass
    both.cancel()
