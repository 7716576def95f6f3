"""Two ends that talk through us: carried until both are silent, and ended by us when one breaks, nothing moves, the
session has ended or it used up its bytes. `why` says which."""

from collections.abc import Awaitable, Callable
from typing import Literal

import anyio

from access.allowance import Meter
from access.wire import Count, Wire
from kit.errors import Refused

Why = Literal["over", "broken", "idle", "session_ended", "exhausted", "stopped", "unreachable"]


class Tunnel:
    """One connection between a client and an upstream."""

    def __init__(self, client: Wire, upstream: Wire, meter: Meter, *, idle_s: float) -> None:
        self._client = client
        self._upstream = upstream
        self._meter = meter
        self._idle_s = idle_s
        self._silent = 0
        self._scope = anyio.CancelScope()
        self.why: Why = "stopped"

    async def run(self, session_ended: Callable[[], Awaitable[None]]) -> None:
        """To the end; `session_ended` returns when that is so."""
        self._keep()
        with self._scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch, session_ended)
                tasks.start_soon(self._pour, self._client, self._upstream, self._meter.sent)
                tasks.start_soon(self._pour, self._upstream, self._client, self._meter.came)
        if self._scope.cancelled_caught and self.why == "stopped":
            self.why = "idle"

    def _keep(self) -> None:
        """Something moved."""
        self._scope.deadline = anyio.current_time() + self._idle_s

    def _end(self, why: Why) -> None:
        if not self._scope.cancel_called:
            self.why = why
            self._scope.cancel()

    async def _pour(self, source: Wire, sink: Wire, count: Count) -> None:
        def moved(size: int) -> None:
            self._keep()
            count(size)

        try:
            await source.pour(sink, moved)
        except OSError:
            self._end("broken")
        except Refused:
            self._end("exhausted")
        else:
            self._silent += 1
            if self._silent == 2:
                self._end("over")

    async def _watch(self, session_ended: Callable[[], Awaitable[None]]) -> None:
        await session_ended()
        self._end("session_ended")
