"""Pages that are open at one replica: a socket on each of some executions, and what it was told of their logs."""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

import anyio
from anyio.abc import TaskGroup
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from kit.clock import Clock
from tests.journeys.plane import Plane

AFTERWARDS_S = 12.0
"""How long a page stays after the end: what was unread at the verdict is told then."""
AGAIN_S = 0.3
OPEN_S = 60.0
"""A page that opens late on a busy machine misses nothing."""


@dataclass(kw_only=True)
class Page:
    """What one socket heard of an execution; with `again` it is opened anew at the next replica, from where it was."""

    execution_id: str
    lines: list[tuple[int, str]] = field(default_factory=list)
    seqs: list[int] = field(default_factory=list)
    opened: int = 0
    ended: bool = False
    closed: datetime = field(default_factory=Clock().now)

    async def watch(self, planes: list[Plane], *, again: bool) -> None:
        while not self.ended:
            plane = planes[self.opened % len(planes)]
            self.opened += 1
            with suppress(OSError, WebSocketException, ValueError):
                await self._listen(plane.found["url"], plane.found["token"])
            self.closed = Clock().now()
            if not again:
                return
            await anyio.sleep(AGAIN_S)

    async def _listen(self, url: str, token: str) -> None:
        address, headers = f"ws{url.removeprefix('http')}/api/v1/live", {"Authorization": f"Bearer {token}"}
        async with connect(address, additional_headers=headers, proxy=None, open_timeout=OPEN_S) as wire:
            seq, number = self.seqs[-1] if self.seqs else 0, self.lines[-1][0] if self.lines else 0
            await wire.send(json.dumps({"watch": self.execution_id, "after": seq, "log": number}))
            with anyio.CancelScope() as scope:
                async for text in wire:
                    told = json.loads(text)
                    if told["type"] == "log":
                        self.lines += [(line["number"], line["text"]) for line in told["lines"]]
                    elif "seq" in told and told["type"] != "watching":
                        self.seqs.append(told["seq"])
                    if told["type"] == "execution.ended":
                        self.ended = True
                        scope.deadline = anyio.current_time() + AFTERWARDS_S

    def whole(self, stored: list[tuple[int, str]], due: int) -> bool:
        """Was every line told once and in order, and every event? `due` lines were stored while it was open."""
        told = self.lines == stored[: len(self.lines)] and len(self.lines) >= due
        return self.ended and told and self.seqs == list(range(1, len(self.seqs) + 1))


@dataclass(kw_only=True)
class Pages:
    planes: list[Plane]
    tasks: TaskGroup
    again: bool = False
    """Are they opened anew when their replica goes?"""
    open_: list[Page] = field(default_factory=list)

    def look(self, execution_id: str) -> None:
        page = Page(execution_id=execution_id)
        self.open_.append(page)

        async def watch() -> None:
            await page.watch(self.planes, again=self.again)

        self.tasks.start_soon(watch)
