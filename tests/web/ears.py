"""Whoever listens at the live socket, over real sockets."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import anyio
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from control.identity.principals import Role
from tests.web.world import World

LATEST_S = 10  # how long a test waits for what must come


@dataclass(kw_only=True)
class Ear:
    """One end of a socket."""

    wire: ClientConnection

    async def watch(self, name: str, **numbers: int | None) -> dict[str, Any]:
        """Watch something; what the server says to that."""
        await self.wire.send(json.dumps({"watch": name, **numbers}))
        return await self.next()

    async def next(self) -> dict[str, Any]:
        with anyio.fail_after(LATEST_S):
            told: dict[str, Any] = json.loads(await self.wire.recv())
        return told

    async def until(self, type_: str) -> list[dict[str, Any]]:
        """Everything up to the first message of a type, which comes last."""
        told = [await self.next()]
        while told[-1]["type"] != type_:
            told.append(await self.next())
        return told

    async def lines(self, up_to: int) -> list[int]:
        """Numbers of log lines as they come, up to one."""
        numbers: list[int] = []
        while not numbers or numbers[-1] < up_to:
            numbers += [line["number"] for line in (await self.until("log"))[-1]["lines"]]
        return numbers

    async def closed(self) -> int:
        """The code the server closes with."""
        with anyio.fail_after(LATEST_S), suppress(ConnectionClosed):
            async for _ in self.wire:
                pass
        assert self.wire.close_code
        return self.wire.close_code


@dataclass(kw_only=True)
class Door:
    """A served world and how to knock."""

    world: World
    url: str

    @asynccontextmanager
    async def open(self, **headers: str) -> AsyncIterator[Ear]:
        address = f"ws{self.url.removeprefix('http')}/api/v1/live"
        async with connect(address, additional_headers=headers, proxy=None) as wire:
            yield Ear(wire=wire)

    @asynccontextmanager
    async def person(self, role: Role = Role.VIEWER) -> AsyncIterator[Ear]:
        """A browser's page: a cookie and our own origin."""
        async with self.open(Cookie=f"preloop={await self.world.token(role)}", Origin=self.url) as ear:
            yield ear

    async def refused(self, **headers: str) -> int:
        with pytest.raises(InvalidStatus) as told:
            async with self.open(**headers):
                pass
        return told.value.response.status_code
