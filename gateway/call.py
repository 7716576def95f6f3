"""One model call from its admission to its last byte: who asks, for what, and how it can be ended from outside."""

import asyncio
from types import TracebackType
from typing import Any

from control.identity.principals import Principal
from gateway.stream import Outlet
from gateway.wires.neutral import Request, Wire
from kit.errors import Fault


class Call:
    """What the rooms of the gateway hold on to while a call runs."""

    __slots__ = (
        "_reading", "drains", "fault", "hopeful_until", "outlet", "principal", "request", "size", "token", "wire",
    )  # fmt: skip

    def __init__(
        self, *, token: str, principal: Principal, request: Request, wire: Wire, size: int, outlet: Outlet
    ) -> None:
        self.token = token
        self.principal = principal
        self.request = request
        self.wire = wire
        self.size = size  # bytes of the body
        self.outlet = outlet
        self.drains = True  # when the client leaves, the answer is read to its end
        self.hopeful_until = 0.0  # monotonic; until then an attempt that just began may still be refused
        self.fault: Fault | None = None  # why it was ended from outside
        self._reading = Reading()

    @property
    def reading(self) -> "Reading":
        """Everything that waits for a provider runs inside of this."""
        return self._reading

    def end(self, fault: Fault) -> None:
        """End it now; the client hears so in the words of its wire."""
        self.fault = self.fault or fault
        self._reading.cancel()


class Reading:
    """What can be broken off from outside: whoever leaves it then goes on behind it. A fifth of anyio's scope."""

    __slots__ = ("_before", "_broken", "_task")

    def __init__(self) -> None:
        self._task: asyncio.Task[Any] | None = None
        self._before = 0
        self._broken = False

    def cancel(self) -> None:
        """Break it off, now or as soon as it begins; twice is once."""
        if not self._broken:
            self._broken = True
            if self._task:
                self._task.cancel()

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        assert self._task
        self._before = self._task.cancelling()
        if self._broken:
            self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        task, self._task = self._task, None
        if not self._broken or task is None:
            return False
        ours = task.uncancel() <= self._before  # else somebody wants the whole task to end
        return ours and kind is asyncio.CancelledError
