"""How much one session may have open and how often it may ask, in each process: an agent that loops, or a token in
wrong hands, leaves room for the others. Both of the agents' doors ask here, each with the same `Caps`.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kit.errors import Throttled
from kit.limits import Pace


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Of one session: open calls, streams that only listen, and requests a second (twice as many at once)."""

    calls: int = 100
    streams: int = 20
    per_second: int = 100


class Caps:
    """The open calls and streams of one process, by session."""

    def __init__(self, share: Share | None = None) -> None:
        self._share = share = share or Share()
        self._pace = Pace(burst=2 * share.per_second, every_s=1 / share.per_second)
        self._open: Counter[tuple[str, bool]] = Counter()

    @contextmanager
    def inside(self, session_id: str, *, lasting: bool = False) -> Iterator[None]:
        """One more request of a session, open inside of this; or Throttled. `lasting` ones only listen."""
        place = (session_id, lasting)
        self._check(place)
        self._open[place] += 1
        try:
            yield
        finally:
            self._open[place] -= 1
            if not self._open[place]:
                del self._open[place]

    def _check(self, place: tuple[str, bool]) -> None:
        session_id, lasting = place
        most = self._share.streams if lasting else self._share.calls
        if self._open[place] >= most:
            what, key = ("streams", "session_streams") if lasting else ("calls", "session_calls")
            raise Throttled(
                f"too_many_{what}",
                f"This session has {most} {what} open, as many as it may.",
                f"Wait until one ends; server.{key} says how many there may be.",
                retry_after_s=1,
            )
        if not self._pace.take(session_id):
            raise Throttled(
                "too_often",
                f"This session asks more than {self._share.per_second} times a second.",
                "Ask more slowly; server.session_requests_per_second is the limit.",
                retry_after_s=1,
            )
