"""What checking a value against a schema may cost, counted while it is done, so that it ends. Pure."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

WORK = 600_000
"""What one value may take, in units of about a microsecond."""
LITTLE = 20_000
"""What takes less may hold up everything else."""
SCHEMA = 4_000_000
"""What reading a schema may take."""
WALKED = 4
"""Members of an array, an object or a schema that are gone through for one unit."""
TOLD = 64
"""Characters of a text that are compared or repeated for one unit."""


class TooMuch(Exception):
    """It took more than it may."""


class Budget:
    """`keys` is what a schema compares with, by the identity of its parts; it may be kept as long as the schema."""

    __slots__ = ("_left", "_sizes", "keys")

    def __init__(self, work: int, keys: dict[int, Any]) -> None:
        self.keys = keys
        self._left = work
        self._sizes: dict[int, int] = {}

    def spend(self, units: int) -> None:
        self._left -= units
        if self._left < 0:
            raise TooMuch

    def size(self, value: object) -> int:
        """How much there is to a part of the value that is checked, in units."""
        if isinstance(value, str):
            return 1 + len(value) // TOLD
        if not isinstance(value, dict | list):
            return 1
        if id(value) not in self._sizes:
            inner = [*value, *value.values()] if isinstance(value, dict) else value
            self._sizes[id(value)] = 1 + sum(map(self.size, inner))
        return self._sizes[id(value)]


_CURRENT: ContextVar[Budget] = ContextVar("budget")


@contextmanager
def bounded(work: int, keys: dict[int, Any]) -> Iterator[None]:
    """Inside of this, checks end in TooMuch when they took their work."""
    token = _CURRENT.set(Budget(work, keys))
    try:
        yield
    finally:
        _CURRENT.reset(token)


def budget() -> Budget:
    return _CURRENT.get()


def breadth(value: object) -> int:
    """Members, or characters."""
    return len(value) if isinstance(value, dict | list | str) else 0
