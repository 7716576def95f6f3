"""A thousand calls that wait for a person: what they hold, and how fast they are answered once somebody decides."""

import sqlite3
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import anyio

from bench import mcp_calls, mcp_gateways, processes
from bench.figures import say
from bench.mcp_gateways import LEGACY, MODERN, Gateway, Plane

LIMITS = {MODERN: 80.0, LEGACY: 140.0}
"""MB of resident memory that each thousand of waiting calls may add, by wire."""
AGAIN_MB = 10.0
ANSWERED_S = 3.0
EACH = 10
"""Open requests one session may have; the waiting calls come from as many sessions as that takes."""
OPEN_S = 120.0


async def hold(wire: str, count: int) -> bool:
    """Two waves of so many calls on one wire."""
    limit = LIMITS[wire] * count / 1000
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        plane = stack.enter_context(mcp_gateways.ours(stack.enter_context(mcp_gateways.echo()), folder))
        agents = [replace(plane.asks, wire=wire, token=token) for token in _tokens(plane, count // EACH)]
        async with mcp_calls.session() as http:
            await mcp_calls.many(http, replace(plane.free, wire=wire), 200, 8)
        base = processes.rss_mb(plane.asks.pid)
        first = await _wave(plane, agents, folder, "first")
        second = await _wave(plane, agents, folder, "second")
    added, again = first[0] - base, second[0] - first[0]
    say(f"waiting_{count}_mb_{wire}", f"{added:.0f} (may be {limit:.0f})")
    say(f"second_wave_mb_{wire}", f"{again:.0f} (may be {AGAIN_MB:.0f})")
    say(f"answered_s_{wire}", f"{first[1]:.1f} and {second[1]:.1f} after the decisions (may be {ANSWERED_S:g})")
    say(f"waiters_left_{wire}", f"{first[2]} and {second[2]}")
    fast = max(first[1], second[1]) <= ANSWERED_S
    return added <= limit and again < AGAIN_MB and fast and not first[2] and not second[2]


async def _wave(plane: Plane, agents: list[Gateway], folder: Path, name: str) -> tuple[float, float, int]:
    """(MB resident while all wait, seconds from the last decision to the last answer, calls left open)."""
    answered: list[float] = []

    async def ask(http: aiohttp.ClientSession, agent: Gateway, text: str) -> None:
        if await mcp_calls.call(http, agent, text) != text:
            raise RuntimeError("another call's answer")
        answered.append(time.monotonic())

    database = folder / "data" / "preloop.db"
    async with mcp_calls.session() as http, anyio.create_task_group() as waiting:
        for agent in agents:
            for number in range(EACH):
                waiting.start_soon(ask, http, agent, f"{name} {number}")
        with anyio.fail_after(OPEN_S):
            while len(_open(database)) < len(agents) * EACH:  # noqa: ASYNC110 - another process's rows wake nobody
                await anyio.sleep(0.5)
        resident = processes.rss_mb(plane.asks.pid)
        decided = await _decide(plane, database)
    return resident, max(0.0, answered[-1] - decided), len(_unsettled(database))


def _tokens(plane: Plane, count: int) -> list[str]:
    return [plane.rest("POST", "/tokens", {"name": f"agent-{n}", "flow": "asks"})["token"] for n in range(count)]


def _rows(database: Path, statement: str) -> list[Any]:
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as reader:
        return reader.execute(statement).fetchall()


def _open(database: Path) -> list[Any]:
    pending = "SELECT a.id, c.digest FROM approvals a JOIN tool_calls c ON c.id = a.call_id WHERE a.status = 'pending'"
    return _rows(database, pending)


def _unsettled(database: Path) -> list[Any]:
    return _rows(database, "SELECT id FROM tool_calls WHERE status IN ('ready', 'waiting', 'sent')")


async def _decide(plane: Plane, database: Path) -> float:
    """A person's yes to each, eight at a time; when the last one was given."""
    left = iter(_open(database))
    async with mcp_calls.session() as http, anyio.create_task_group() as people:

        async def one_after_another() -> None:
            for approval_id, digest in left:
                url = f"{plane.api}/approvals/{approval_id}/decide"
                headers = {"authorization": f"Bearer {plane.admin}"}
                async with http.post(url, json={"verdict": "approved", "digest": digest}, headers=headers) as answer:
                    answer.raise_for_status()

        for _ in range(8):
            people.start_soon(one_after_another)
    return time.monotonic()
