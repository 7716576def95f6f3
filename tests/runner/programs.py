"""Python programs as processes that end with their block, and the stand-in control plane among them."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import anyio.abc
from anyio.abc import Process

from tests.waiting import until

PLANE = Path(__file__).with_name("plane.py")


@asynccontextmanager
async def program(*words: str | Path | int, env: dict[str, str] | None = None) -> AsyncIterator[Process]:
    command = [sys.executable, *map(str, words)]
    async with await anyio.open_process(command, env=env, stderr=None) as process:
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()


@asynccontextmanager
async def plane(host: str, port: int, folder: Path) -> AsyncIterator[Process]:
    """Answering by the time the block begins."""
    async with program(PLANE, host, port, folder) as process:
        await until(partial(answers, host, port), 30, what="the stand-in to listen")
        yield process


async def answers(host: str, port: int) -> bool:
    try:
        async with await anyio.connect_tcp(host, port):
            return True
    except OSError:
        return False
