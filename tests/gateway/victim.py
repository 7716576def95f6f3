"""A gateway in a process of its own, to be killed: prints its address, a session and its token, then serves."""

import sys
from functools import partial
from pathlib import Path

import anyio

from tests.gateway.plane import PRICES, open_plane, script


async def main(folder: Path, *, strict: bool) -> None:
    slow = script(folder, {"say": "Too late.", "delay_ms": 600_000})
    alias = {"provider": "scripted", "script": slow, **PRICES, "max_output_tokens": 50}
    async with open_plane(folder, {"slow": alias}, patience_s=0.5, strict=strict) as plane:
        session, token = await plane.session("slow", budget_nano=10**9)
        print(plane.containers, session, token, flush=True)
        await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(partial(main, Path(sys.argv[1]), strict="strict" in sys.argv))
