"""One look for everyone who stands at the same place: a hundred sockets on one log read and write out its lines once.

What stands after a number in an append-only record only grows, so news that was found once is right for whoever asks
from there later; that there is none is right only for who asked before the look began.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field

import anyio

KEPT = 64
"""Places whose news is kept,"""
HEAVY = 256 * 1024
"""and from how many characters on it is not: at most 16 MB are held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """Messages as they are sent, and the two numbers to read on from."""

    texts: tuple[str, ...]
    seq: int
    line: int


@dataclass(eq=False, slots=True)
class _Look:
    over: anyio.Event = field(default_factory=anyio.Event)
    found: News | None = None


class Shared:
    """What was found from some places, of one process."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, News] = OrderedDict()
        self._looks: dict[Hashable, _Look] = {}

    async def news(self, place: Hashable, look: Callable[[], Awaitable[News]]) -> News:
        """News from a place, by `look` unless somebody else has it or is at it."""
        joined = 0
        while place not in self._kept:
            under_way = self._looks.get(place)
            if under_way is None:
                return await self._look(place, look)
            await under_way.over.wait()
            joined += 1
            if under_way.found and (under_way.found.texts or joined > 1):
                return under_way.found
        return self._kept[place]

    async def _look(self, place: Hashable, look: Callable[[], Awaitable[News]]) -> News:
        mine = self._looks[place] = _Look()
        try:
            mine.found = await look()
        finally:
            del self._looks[place]
            mine.over.set()
        if mine.found.texts and sum(map(len, mine.found.texts)) < HEAVY:
            self._kept[place] = mine.found
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return mine.found
