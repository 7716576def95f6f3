"""Two waits at once that fail as one would. Neither is cut off because the other failed: what was asked for is answered
before anybody clears up after it."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

First = TypeVar("First")
Second = TypeVar("Second")


async def together(
    first: Callable[[], Awaitable[First]], second: Callable[[], Awaitable[Second]]
) -> tuple[First, Second]:
    """What both answered; when both fail, the failure of whoever was first to."""
    firsts: list[First] = []
    seconds: list[Second] = []
    failures: list[Exception] = []

    async def fill(answers: list[First] | list[Second], ask: Callable[[], Awaitable[First | Second]]) -> None:
        try:
            answers.append(await ask())  # type: ignore[arg-type]
        except Exception as failure:
            failures.append(failure)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fill, firsts, first)
        tasks.start_soon(fill, seconds, second)
    if failures:
        raise failures[0]
    return firsts[0], seconds[0]
