"""Waiting for what nothing tells of: another process, a port, a counter. A bus or an event is waited on directly."""

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import TypeVar, overload

import anyio

T = TypeVar("T")
N = TypeVar("N", int, str)
BREATH_S = 0.02
STILL_S = 0.3
PAGE_MS = 30_000
"""How long a browser looks for what is to be on a page, before its test hangs."""


@overload
async def until(condition: Callable[[], Awaitable[T]], limit_s: float = ..., *, what: str) -> T: ...
@overload
async def until(condition: Callable[[], T], limit_s: float = ..., *, what: str) -> T: ...


async def until(condition: Callable[[], object], limit_s: float = 10.0, *, what: str) -> object:
    """The first answer that counts as true. AssertionError says what was waited for, and the last answer."""
    last: object = "nothing"
    with anyio.move_on_after(limit_s):
        while True:
            answer = condition()
            last = await answer if isawaitable(answer) else answer
            if last:
                return last
            await anyio.sleep(BREATH_S)
    raise AssertionError(f"waited {limit_s:g} s for {what}; the last answer was {last!r}")


async def still(reading: Callable[[], N], for_s: float = STILL_S) -> N:
    """The value that did not change for so long: how to see that something comes no more, which nothing tells of."""
    value, since = reading(), anyio.current_time()
    while anyio.current_time() < since + for_s:
        await anyio.sleep(BREATH_S)
        now = reading()
        if now != value:
            value, since = now, anyio.current_time()
    return value
