"""How often somebody may do something: a bucket of tokens per key, in this process's memory, bounded."""

import time
from collections import OrderedDict
from collections.abc import Callable

KEYS = 10_000
"""Keys that are remembered; the one that was quiet longest is forgotten first."""


class Pace:
    """`burst` at once, then one each `every_s` seconds, for each key by itself."""

    def __init__(self, *, burst: int, every_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._burst = burst
        self._every_s = every_s
        self._now = now
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def spent(self, key: str) -> bool:
        """Is there nothing left for this key now?"""
        return self.wait_s(key) > 0

    def wait_s(self, key: str) -> float:
        """Seconds until there is one again; 0 when there is."""
        return max(0.0, self._full_at.get(key, 0.0) - self._now() - (self._burst - 1) * self._every_s)

    def take(self, key: str) -> bool:
        """Use one; False when there is none."""
        if self.spent(key):
            return False
        now = self._now()
        self._full_at[key] = max(self._full_at.get(key, now), now) + self._every_s
        self._full_at.move_to_end(key)
        if len(self._full_at) > KEYS:
            self._full_at.popitem(last=False)
        return True
