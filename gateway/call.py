"""One model call from its admission to its last byte: who asks, for what, and how it can be ended from outside."""

import anyio

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
        self._reading = anyio.CancelScope()

    @property
    def reading(self) -> anyio.CancelScope:
        """Everything that waits for a provider runs inside of this."""
        return self._reading

    def end(self, fault: Fault) -> None:
        """End it now; the client hears so in the words of its wire."""
        self.fault = self.fault or fault
        self._reading.cancel()
