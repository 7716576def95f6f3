"""How much one session may have open, how often it may come and how many bytes it may move through the egress and git
doors, in this process. What is over is refused; other sessions don't notice."""

from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from access.settings import EgressSettings
from kit.errors import Refused, Throttled
from kit.limits import Pace

REMEMBERED = 10_000
"""Sessions whose bytes are counted; the one that was quiet longest is forgotten first."""


class Meter:
    """The bytes of one connection, counted against its session's."""

    def __init__(self, allowance: "Allowance", session_id: str) -> None:
        self._allowance = allowance
        self._session_id = session_id
        self.up = 0
        self.down = 0

    def sent(self, size: int) -> None:
        """So many bytes came from the container; Refused when its session has moved all it may."""
        self.up += size
        self._allowance.spend(self._session_id, size)

    def came(self, size: int) -> None:
        """The same, towards the container."""
        self.down += size
        self._allowance.spend(self._session_id, size)


class Allowance:
    """All sessions of one process."""

    def __init__(self, settings: EgressSettings) -> None:
        self._settings = settings
        self._pace = Pace(burst=2 * settings.per_second, every_s=1 / settings.per_second)
        self._open: Counter[str] = Counter()
        self._moved: OrderedDict[str, int] = OrderedDict()

    @contextmanager
    def inside(self, session_id: str) -> Iterator[Meter]:
        """One more connection of a session, open inside of this; Throttled, or Refused when its bytes are used up."""
        most = self._settings.connections
        if self._open[session_id] >= most:
            said = f"This session has {most} connections open, as many as it may."
            raise Throttled(
                "egress_busy", said, "Wait until one ends; egress.connections is how many.", retry_after_s=1
            )
        if not self._pace.take(session_id):
            said = f"This session opens more than {self._settings.per_second} connections a second."
            raise Throttled(
                "egress_too_often", said, "Ask more slowly; egress.per_second is the limit.", retry_after_s=1
            )
        self.spend(session_id, 0)
        self._open[session_id] += 1
        try:
            yield Meter(self, session_id)
        finally:
            self._open[session_id] -= 1
            if not self._open[session_id]:
                del self._open[session_id]

    def spend(self, session_id: str, size: int) -> None:
        moved = self._moved[session_id] = self._moved.get(session_id, 0) + size
        self._moved.move_to_end(session_id)
        if len(self._moved) > REMEMBERED:
            self._moved.popitem(last=False)
        if moved > self._settings.most:
            said = f"This session has moved {self._settings.most} bytes, as many as it may."
            raise Refused("egress_exhausted", said, "egress.most is how many.")
