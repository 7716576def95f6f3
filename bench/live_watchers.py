"""A hundred sockets on one execution, and some that read nothing: what reaches them, and what they cost the server."""

import asyncio
import json
import socket
import time
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import anyio
from websockets.asyncio.client import ClientConnection, connect

from bench import processes
from bench.figures import Judged, Within, say
from bench.live_house import House

SOCKETS, PER_S = 100, 1000
GROWTH_MB = 60.0
LATE_S = 5.0
STALLED, STALLED_MB = 20, 40.0
WIDE = 1000
"""Characters of a line: 22 MB for each of the stalled, of which the kernel takes four."""
HANG_S = 120.0


async def _open(house: House, stack: AsyncExitStack, run: str, **more: Any) -> ClientConnection:  # noqa: ANN401
    headers = {"Cookie": f"preloop={house.cookie}", "Origin": house.url}
    address = f"ws{house.url.removeprefix('http')}/api/v1/live"
    wire = await stack.enter_async_context(connect(address, additional_headers=headers, proxy=None, **more))
    await wire.send(json.dumps({"watch": run, "after": None, "log": 0}))
    return wire


async def _deaf(house: House, stack: AsyncExitStack, run: str) -> ClientConnection:
    """One that reads nothing, with a kernel that holds little for it, and nothing compressed."""
    small = stack.enter_context(socket.socket())
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    small.setblocking(False)
    await asyncio.get_running_loop().sock_connect(small, ("127.0.0.1", urlsplit(house.url).port))
    wire = await _open(house, stack, run, sock=small, compression=None)
    wire.transport.pause_reading()
    return wire


async def _heard(wire: ClientConnection, count: int, ends: list[float], wrong: list[int]) -> None:
    """Lines up to a number; one that is not the next is wrong."""
    last = 0
    while last < count:
        told = json.loads(await wire.recv())
        if told["type"] == "log":
            numbers = [line["number"] for line in told["lines"]]
            if numbers != list(range(last + 1, last + 1 + len(numbers))):
                wrong.append(last)
            last = numbers[-1]
    ends.append(time.monotonic())


async def watched(house: House, seconds: int, within: Within, judged: Judged) -> None:
    """So many lines a second for a while, all to all."""
    run, count = await house.do(start=True), PER_S * seconds
    ends: list[float] = []
    wrong: list[int] = []
    async with AsyncExitStack() as stack:
        wires = [await _open(house, stack, run) for _ in range(SOCKETS)]
        memory, cpu, began = processes.rss_mb(house.pid), processes.cpu_s(house.pid), time.monotonic()
        with anyio.move_on_after(seconds + HANG_S):
            async with anyio.create_task_group() as tasks:
                for wire in wires:
                    tasks.start_soon(_heard, wire, count, ends, wrong)
                await house.do(log=run, count=count, per_s=PER_S)
                written = time.monotonic()
        grown, used = processes.rss_mb(house.pid) - memory, processes.cpu_s(house.pid) - cpu
    judged(f"sockets_of_{SOCKETS}_that_heard_all_{count}_lines", len(ends), len(ends) == SOCKETS and not wrong)
    took = max(ends, default=written) - began
    say("lines_a_second_to_each", f"{count / took:.0f} (written at {count / (written - began):.0f})")
    within("seconds_the_last_socket_was_behind", max(ends, default=written + HANG_S) - written, LATE_S)
    within(f"mb_the_server_grew_for_{SOCKETS}_sockets", grown, GROWTH_MB)
    say("server_cpu_percent_of_one_core", f"{100 * used / took:.0f}")


async def stalled(house: House, within: Within, judged: Judged) -> None:
    """Some read nothing, beside one that reads on."""
    run, count = await house.do(start=True), 20_000
    ends: list[float] = []
    wrong: list[int] = []
    async with AsyncExitStack() as stack:
        deaf = [await _deaf(house, stack, run) for _ in range(STALLED)]
        wire = await _open(house, stack, run)
        memory, began = processes.rss_mb(house.pid), time.monotonic()
        with anyio.move_on_after(HANG_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_heard, wire, count, ends, wrong)
                await house.do(log=run, count=count, per_s=2 * PER_S, wide=WIDE)
                written = time.monotonic()
        grown = processes.rss_mb(house.pid) - memory
        for one in deaf:
            one.transport.abort()
    whole = len(ends) == 1 and not wrong
    judged(f"heard_all_{count}_lines_beside_{STALLED}_that_read_nothing", whole, whole)
    within("seconds_it_was_behind", max(ends, default=began + HANG_S) - written, LATE_S)
    within(f"mb_the_server_grew_for_{STALLED}_that_read_nothing", grown, STALLED_MB)
